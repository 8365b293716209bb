"""Who may ask the endpoint: API keys and JSON Web Tokens, scopes, and limits for each caller."""
