# `make` lists the targets. `demo` and `test` set everything up by themselves; the second call installs nothing.
# The newest supported interpreter is taken; PYTHON=/path/to/python names another.
PYTHON ?=
# TORCH=cpu or TORCH=cuda names the build of torch; otherwise pip takes one by its own configuration. TORCH_INDEX=URL is
# one more place where it looks. An interpreter that has torch already lends it to the environment.
TORCH ?=
TORCH_INDEX ?=
WAIT ?= 1
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What starts Ray Serve or a cluster is in one process: a machine has one each. What of tests/serve needs none of them,
# but for its slow tests, is with the rest.
WITH_SERVE := tests/serve tests/towers/sweeps/test_autoscaling.py
WITHOUT := $(addprefix tests/serve/,access batch events experiments filters index laps releases rollout)
SERVING := $(WITHOUT:%=--ignore=%) $(WITH_SERVE)
READING := tests/conformance tests/data $(WITHOUT)
REST := $(patsubst %,--ignore=%,$(WITH_SERVE) $(READING)) tests
# What differs between versions of Python is in parsing, typing and pickling; the demo goes through the whole stack.
BRIEF := tests/conf tests/data/artifacts tests/data/cluster tests/data/sources tests/serve/filters tests/towers/model
SMALL_LOG := tracking=off data.source.num_users=300 data.source.num_items=200 data.source.num_clusters=10 \
    data.source.interactions_per_user=20 model.embedding_dim=16 train.epochs=2 train.batch_size=256 loss.num_uniform=64 \
    gate.max_mean_cosine=0.7
PYTEST := $(BIN)/python -m pytest -q
IN_BACKGROUND := $(BIN)/python -m tests.reporting.interruptible -q
# What the processes share is built by the first that needs it. After Ctrl-C, what they leave behind is waited for.
# (pytest ends with 5 where it is left no tests.)
SHARING := export SHARED_ARTIFACTS=$$(mktemp -d); trap 'rm -rf "$$SHARED_ARTIFACTS"' EXIT; trap 'wait; exit 130' INT
# The last lines say what was skipped, why, and what to type.
TELL_SKIPS = $(BIN)/python -m tests.reporting.skipping "$$SHARED_ARTIFACTS"
define at_once
$(SHARING); \
$(IN_BACKGROUND) $(SERVING) $(1) $(ARGS) & serving=$$!; \
$(IN_BACKGROUND) $(READING) $(1) $(ARGS) & reading=$$!; \
$(PYTEST) $(REST) $(1) $(ARGS); rest=$$?; \
wait $$serving; serving=$$?; wait $$reading; reading=$$?; \
$(TELL_SKIPS); skips=$$?; \
for status in $$rest $$serving $$reading $$skips; do [ $$status -eq 0 ] || [ $$status -eq 5 ] || exit $$status; done
endef
# The slow tests measure deadlines and start many processes: two parts at once would be in each other's way.
define one_after_the_other
$(SHARING); status=0; \
failed() { status=1; $(if $(filter -x --exitfirst,$(ARGS)),exit 1;) }; \
$(PYTEST) $(SERVING) $(1) $(ARGS) || [ $$? -eq 5 ] || failed; \
$(PYTEST) $(REST) $(1) $(ARGS) || [ $$? -eq 5 ] || failed; \
$(PYTEST) $(READING) $(1) $(ARGS) || [ $$? -eq 5 ] || failed; \
$(TELL_SKIPS) || status=1; \
exit $$status
endef
define new_environment
@test -x $(1)/bin/python || { python=$$(tools/find-python $(PYTHON)) && "$$python" -m venv \
    $(if $(TORCH),,$$("$$python" tools/installed.py torch && echo --system-site-packages)) $(1); }
endef
export RAY_AUTH_MODE ?= token
export PYTHONUNBUFFERED = 1

.PHONY: help interpreter demo test test-slow test-all test-briefly pins check dist bench bench-capacity bench-cluster bench-events bench-features bench-gpu bench-index bench-log-size bench-page bench-promotion bench-publish bench-quality bench-refresh bench-scale bench-seconds bench-serve bench-start bench-streaming bench-swaps bench-sweep bench-tables bench-training bench-upgrade peers notebooks proto milvus-server clean watch chaos soak

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ":.*## " '{ printf "%-15s %s\n", $$1, $$2 }'

demo: $(READY) ## from a log to live recommendations; WAIT=0 stops after the requests; ARGS="data=gowalla ..."; TORCH=cpu
	$(BIN)/python -m serve.demo demo.wait=$(if $(filter 0,$(WAIT)),false,true) $(ARGS)

test: $(READY) ## the everyday tests, within 5 minutes on 2 cores; ARGS="-k filters"
	@$(call at_once,-m "not slow")

test-slow: $(READY) ## the tests marked slow: endpoints under faults, sweeps, crashes, notebooks
	@$(call one_after_the_other,-m slow)

test-briefly: $(READY) ## a cheap part of the everyday tests and the demo on a small log, as for another PYTHON= and VENV=
	$(PYTEST) $(BRIEF) -m "not slow" $(ARGS)
	$(BIN)/python -m serve.demo demo.wait=false storage.root=$(VENV)/var $(SMALL_LOG)

test-all: test test-slow ## all tests; CI runs the slow ones as far as half an hour allows

pins: $(READY) ## the pinned packages resolve from wheels for each platform and Python, by metadata alone
	$(BIN)/python tools/check_pins.py

check: $(READY) ## format, lint, types (notebooks too), the order of imports (import-linter), and the Dockerfile (hadolint)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tools/check_notebooks.py
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint Dockerfile

dist: .venv-dist/.ready ## a release in dist/: built, tried in an empty environment, licences, known vulnerabilities, SBOM; TORCH=cpu
	.venv-dist/bin/python tools/dist/make_dist.py --torch "$(TORCH)" --torch-index "$(TORCH_INDEX)"

watch: $(READY) ## Prometheus beside a running demo, and its panels in a page; needs prometheus (apt)
	$(BIN)/python -m serve.watch $(ARGS)

bench: $(READY) .venv-peers/.ready ## each benchmark in tests/benchmarks, one after the other
	@set -e; for name in $(subst /,.,$(basename $(wildcard $(addsuffix /bench_*.py,tests/benchmarks tests/benchmarks/*)))); do echo "== $$name"; $(BIN)/python -m $$name $(ARGS); done

bench-quality: $(READY) ## the settled recipes on public data (DATASETS=...), three seeds each: hours; ARGS="experiments=toys"
	$(BIN)/python -m tests.benchmarks.bench_quality $(ARGS)

bench-training: $(READY) .venv-peers/.ready ## training speed beside other recommenders; ARGS="threads=2 rounds=3"
	$(BIN)/python -m tests.benchmarks.bench_training $(ARGS)

bench-tables: $(READY) ## memory of a worker and speed with whole and with sharded tables; ARGS="workers=4"
	$(BIN)/python -m tests.benchmarks.distributed.bench_tables $(ARGS)

bench-capacity: $(READY) ## what one replica takes, for serve.capacity, and how well its formula foretells; needs wrk (apt)
	$(BIN)/python -m tests.benchmarks.operations.bench_capacity $(ARGS)

bench-cluster: $(READY) ## cluster.yaml on Ray's fake nodes: nodes come for a training and for load, and go again; needs wrk (apt)
	$(BIN)/python -m tests.benchmarks.operations.bench_cluster $(ARGS)

bench-features: $(READY) ## training steps by the size of feature vocabularies, dense and sparse; ARGS="threads=1"
	$(BIN)/python -m tests.benchmarks.bench_features $(ARGS)

bench-seconds: $(READY) .venv-peers/.ready ## seconds of training to a quality on Gowalla (DATASETS=...), beside implicit's ALS
	$(BIN)/python -m tests.benchmarks.bench_seconds $(ARGS)

bench-promotion: $(READY) ## the tail of latency while releases of a million items are promoted; needs wrk (apt); ARGS="items=100000"
	$(BIN)/python -m tests.benchmarks.releases.bench_promotion $(ARGS)

bench-publish: $(READY) ## publishing beside bare pymilvus upserts; ARGS="items=1000000 uri=http://127.0.0.1:19530"
	$(BIN)/python -m tests.benchmarks.bench_publish $(ARGS)

bench-refresh: $(READY) ## seconds from a new item's row to its first appearance in an answer; ARGS="items=100000"
	$(BIN)/python -m tests.benchmarks.bench_refresh $(ARGS)

bench-events: $(READY) ## from an event to the next answer, events accepted in a second, what state and logs cost; needs wrk, Redis (apt)
	$(BIN)/python -m tests.benchmarks.events.bench_events $(ARGS)

bench-gpu: $(READY) ## training steps and embedding on a GPU beside the machine's cores; DATASETS=...; ARGS="steps=200"
	$(BIN)/python -m tests.benchmarks.bench_gpu $(ARGS)

bench-index: $(READY) ## the replica index on a million items: latency, recall, filters, memory; ARGS="items=1000000"
	$(BIN)/python -m tests.benchmarks.bench_index $(ARGS)

bench-log-size: $(READY) ## what a log costs from preparation to the release as it grows; ARGS="sizes=300000,1000000"
	$(BIN)/python -m tests.benchmarks.growth.bench_log_size $(ARGS)

bench-page: $(READY) ## the page's search in a million items, first paint, and what it leaves of throughput; ARGS="items=1000000"
	$(BIN)/python -m tests.benchmarks.bench_page $(ARGS)

bench-scale: $(READY) ## replicas that follow the load, and that die under it; needs wrk (apt)
	$(BIN)/python -m tests.benchmarks.bench_scale $(ARGS)

bench-serve: $(READY) ## the endpoint under load, beside FastAPI + FAISS and an ordinary Ray Serve composition; needs wrk (apt)
	$(BIN)/python -m tests.benchmarks.bench_serve $(ARGS)

bench-start: $(READY) ## seconds until a command answers, beside `import hydra, pyarrow`; ARGS="rounds=10"
	$(BIN)/python -m tests.benchmarks.bench_start $(ARGS)

bench-streaming: $(READY) ## training on a streamed log, beside the same log in memory, on Gowalla; ARGS="epochs=3"
	$(BIN)/python -m tests.benchmarks.growth.bench_streaming $(ARGS)

bench-swaps: $(READY) ## 500 promotions and rollbacks under load, in both topologies: half an hour; ARGS="swaps=20"
	$(BIN)/python -m tests.benchmarks.bench_swaps $(ARGS)

bench-sweep: $(READY) ## sixteen short trials by hydra/launcher=ray, beside Hydra's joblib and basic launchers
	$(BIN)/python -m tests.benchmarks.bench_sweep $(ARGS)

bench-upgrade: $(READY) ## changes of an endpoint under load, and its failed requests; needs wrk and redis-server (apt); ARGS="requests=2000"
	$(BIN)/python -m tests.benchmarks.operations.bench_upgrade $(ARGS)

chaos: $(READY) ## an endpoint under load while replicas, stages, Milvus and storage fail and operators work: 14 minutes; ARGS="seconds=60 seed=1"
	$(BIN)/python -m tests.chaos.run seconds=840 $(ARGS)

soak: $(READY) ## an hour of load with operators at work: how memory grows; ARGS="soak_s=600"
	$(BIN)/python -m tests.chaos.run seconds=0 soak_s=3600 $(ARGS)

peers: .venv-peers/.ready ## the recommenders that benchmarks compare with, in a venv of their own

notebooks: $(READY) ## executes notebooks/*.ipynb into var/notebooks
	@mkdir -p var/notebooks
	$(BIN)/python -m nbconvert --to notebook --execute --output-dir var/notebooks notebooks/*.ipynb

proto: $(READY) ## serve/api/recommender_pb2*.py from serve/api/recommender.proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. serve/api/recommender.proto

milvus-server: .venv-milvus/.ready ## the Milvus 2.3.5 server for the integration tests, in a venv of its own

clean: ## removes the virtual environments; keeps var/
	rm -rf $(VENV) .venv-dist .venv-milvus .venv-peers build dist *.egg-info

interpreter: # that which PYTHON names, if an environment was made of another
	@test -z "$(PYTHON)" || test ! -x $(BIN)/python || { \
	    said=$$(tools/find-python "$(PYTHON)" 2>&1) || { echo "$$said" >&2; exit 2; }; \
	    version='import sys; print("%d.%d.%d" % sys.version_info[:3])'; \
	    has=$$($(BIN)/python -c "$$version"); named=$$("$(PYTHON)" -c "$$version"); test "$$has" = "$$named" || { \
	    echo "error: $(VENV) has Python $$has, and PYTHON=$(PYTHON) is $$named: make clean, or pass VENV= with another folder" >&2; \
	    exit 2; }; }

$(READY): pyproject.toml constraints.txt | interpreter
	$(call new_environment,$(VENV))
	@tools/install-torch $(BIN)/python "$(TORCH)" "$(TORCH_INDEX)"
	$(BIN)/python -m pip install -q --upgrade -c constraints.txt setuptools
	@echo "installing the rest (about two minutes)"
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test,dev,bench,page]"
	touch $@

.venv-milvus/.ready:
	$(call new_environment,.venv-milvus)
	.venv-milvus/bin/python -m pip install -q "setuptools<81" milvus==2.3.5
	touch $@

.venv-dist/.ready: tools/dist/requirements.txt
	$(call new_environment,.venv-dist)
	.venv-dist/bin/python -m pip install -q -r tools/dist/requirements.txt
	touch $@

.venv-peers/.ready: tests/benchmarks/peers/requirements.txt
	$(call new_environment,.venv-peers)
	@tools/install-torch .venv-peers/bin/python "$(TORCH)" "$(TORCH_INDEX)"
	.venv-peers/bin/python -m pip install -q -r tests/benchmarks/peers/requirements.txt
	touch $@
