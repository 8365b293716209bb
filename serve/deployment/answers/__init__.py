"""What an ingress replica keeps beside the answers that it gives: records of them, and what is popular now."""
