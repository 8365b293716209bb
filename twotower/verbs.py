"""The verbs of the command `twotower`, by the user whose work they are, each with what it does in one line."""

VERBS_BY_USER: dict[str, dict[str, str]] = {
    "everyone": {
        "serve.demo": "the whole stack in one command: from a log to an endpoint that answers",
    },
    "researcher": {
        "data.prepare": "prepares a dataset from a raw log",
        "data.embed_text": "turns the texts of a log's items into vectors",
        "towers.train": "trains, measures and seals a checkpoint; with -m a sweep",
        "towers.evaluate": "measures a checkpoint on the test part, beside baselines",
        "towers.compare": "tests whether one checkpoint is better than another",
        "towers.leaderboard": "ranks the trials of a sweep",
    },
    "service": {
        "serve.run": "serves the live release until Ctrl-C",
        "serve.page": "a page where people look at answers, beside an endpoint",
        "serve.ingest": "takes events from Kafka until Ctrl-C",
        "serve.recommend": "writes the recommendations of all users as Parquet files",
    },
    "operator": {
        "serve.cycle": "one lap: new events, training, gate, trial, promotion",
        "serve.publish": "publishes a checkpoint as a release",
        "serve.promote": "makes a release live, or a canary",
        "serve.rollback": "returns to the release before, or ends a canary",
        "serve.releases": "lists all releases",
        "serve.verify": "checks that a release is what was published",
        "serve.refresh": "adds, changes or removes items of the live release without training",
        "serve.withdraw": "takes recalled items out of every answer at once",
        "serve.split": "divides the users between releases",
        "serve.lift": "analyses an experiment",
        "serve.guard": "watches canaries and rolls back those that are worse",
        "serve.watch": "runs Prometheus beside an endpoint, and shows its panels in a page",
        "serve.lineage": "shows where a release comes from",
        "serve.prune": "removes old releases, and what dead processes left behind",
        "serve.keys": "makes, lists and revokes the API keys of the endpoint",
        "serve.history": "shows who did what",
        "serve.approve": "approves what another operator asked for",
        "serve.capacity": "says what an endpoint needs: replicas, nodes, memory, cost",
        "serve.manifests": "writes cluster.yaml, Kubernetes manifests and a Serve config",
    },
}
"""Modules of commands, and what they do."""

MODULES = {module.rpartition(".")[2]: module for verbs in VERBS_BY_USER.values() for module in verbs}
"""The module of each verb."""
