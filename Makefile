# Every target is described where it stands; `make help` prints those lines.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Python keeps what it has compiled, whatever the caller's habit: else each process of the tests compiles all it imports.
unexport PYTHONDONTWRITEBYTECODE
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
OVERLAY ?=
ROOTS := operator:inference:deploy/local:deploy/demo:deploy/install:deploy/observability:deploy/pipeline:tests
# The parts that must run before any environment exists need nothing but the standard library.
LOCAL := PYTHONPATH=deploy/local python3 -m iris_local
INSTALL := PYTHONPATH=deploy/install:deploy/local python3 -m iris_install
PYTEST := $(BIN)/python -m pytest
# Prints how long each part of a test run took, also when it fails.
TIMED = bash tests/timed.sh
# Source trees that exist; a checkout in the making may lack some.
PY := $(wildcard operator inference deploy/local deploy/demo deploy/install deploy/observability deploy/pipeline tests)

##@ See it work
.PHONY: demo demo-quality-regressions demo-silent
demo: venv ## Cluster up, deploy, traffic, one good and three bad releases; writes artifacts/demo.json
	PYTHONPATH=$(ROOTS) $(BIN)/python -m iris_demo $(ARGS)
demo-quality-regressions: venv ## The same with versions that are bad without a failed request, and with an incident; artifacts/demo-silent.json
	PYTHONPATH=$(ROOTS) $(BIN)/python -m iris_demo --act silent $(ARGS)
demo-silent: demo-quality-regressions ## The earlier name of demo-quality-regressions, kept for one release

##@ The one-machine cluster (root; builds a real Kubernetes from its Go modules the first time)
.PHONY: cluster-up cluster-down cluster-status images
cluster-up: ## Start it and print the line that points kubectl at it; safe to repeat after a kill
	$(LOCAL) up
cluster-down: ## Stop it and leave no process, mount, interface or iptables rule behind
	$(LOCAL) down
cluster-status: ## Say what of it runs
	$(LOCAL) status
images: ## Build the operator's and the models' images and import them into it
	$(LOCAL) images

##@ From code to a release
.PHONY: pipeline publish release wait
# Variables for the pipeline, for example: make publish VERSION=2.0.0 TAG=rc1
VERSION ?=
TAG ?=
REGISTRY ?=
BASE ?=
PIPELINE = PYTHONPATH=$(ROOTS) $(BIN)/python -m iris_pipeline
pipeline: venv ## Tests, image, registry, release under traffic, on the local cluster; VERSION=3.0.0 ends red and says why
	$(PIPELINE) run $(if $(VERSION),--version "$$VERSION") $(if $(TAG),--tag "$$TAG") $(ARGS)
publish: venv ## Build and push operator and models, and list what is in them; VERSION= TAG= REGISTRY= (the local cluster's)
	$(PIPELINE) publish $(if $(VERSION),--version "$$VERSION") $(if $(TAG),--tag "$$TAG") \
	  $(if $(REGISTRY),--registry "$$REGISTRY") $(if $(BASE),--base "$$BASE") $(ARGS)
release: venv ## Request another model of the release iris in the current kube-context: VERSION= IMAGE=
	$(PIPELINE) release --version "$$VERSION" --image "$$IMAGE" $(ARGS)
wait: venv ## Wait until that release is decided; exit code 1 and the reason when it was rolled back
	$(PIPELINE) wait $(ARGS)

##@ Any cluster
.PHONY: deploy undeploy render
deploy: ## Install into the current kube-context; OVERLAY=local|production (local is chosen for the cluster above)
	$(INSTALL) deploy $(if $(OVERLAY),--overlay $(OVERLAY))
undeploy: ## Remove the operator and its rights; pods keep serving. ARGS=--with-releases deletes the releases and all of theirs first
	$(INSTALL) undeploy $(ARGS)
render: ## Print what `make deploy` would apply
	$(INSTALL) render $(if $(OVERLAY),--overlay $(OVERLAY))

##@ Test
.PHONY: test test-fast test-integration test-e2e
test: packages venv ## Everything, on a machine that may have nothing: installs, builds, judges, runs real servers and a real cluster
	@$(TIMED) lint types imports components test-fast test-integration test-e2e
test-fast: venv ## The tests that need no server: about 60 s on 2 cores
	$(PYTEST) tests --ignore=tests/integration --ignore=tests/e2e --numprocesses=auto --dist=loadfile $(ARGS)
test-integration: packages venv components ## Against a real kube-apiserver with etcd, PostgreSQL, Redis and Prometheus
	$(PYTEST) tests/integration --timeout=300 --numprocesses=2 --dist=loadfile $(ARGS)
test-e2e: packages venv ## Scenarios on the real cluster; brings it up and takes it down unless it was up before
	bash tests/with_cluster.sh $(PYTEST) tests/e2e --timeout=900 $(ARGS)

##@ Judge
.PHONY: lint types imports format
lint: venv ## Style and common mistakes
	$(BIN)/ruff check $(PY)
	$(BIN)/ruff format --check $(PY)
types: venv ## mypy, strict
	$(BIN)/mypy $(PY)
imports: venv ## The directions in which packages may import each other
	PYTHONPATH=$(ROOTS) $(BIN)/lint-imports
format: venv ## Rewrite the code as `make lint` wants it
	$(BIN)/ruff check --fix-only $(PY)
	$(BIN)/ruff format $(PY)

##@ Measure
.PHONY: bench-aa bench-analysis bench-inference soak-inference
bench-aa: venv ## Identical versions and known faults on the real cluster, 2 hours; artifacts/bench-aa.json
	PYTHONPATH=$(ROOTS) $(BIN)/python -m bench.aa $(ARGS)
bench-analysis: venv ## The canary analysis against its bounds and others' rules, on one core; ARGS=--quick for a minute
	OMP_NUM_THREADS=1 PYTHONPATH=$(ROOTS) $(BIN)/python -m bench.analysis $(ARGS)
bench-inference: packages venv ## The service beside MLServer, BentoML and others, on one core; writes artifacts/bench-inference.json
	PYTHONPATH=$(ROOTS) $(BIN)/python -m bench.inference $(ARGS)
soak-inference: packages venv ## Half an hour of constant load: memory, and every record; writes artifacts/soak-inference.json
	PYTHONPATH=$(ROOTS) $(BIN)/python -m bench.inference.soak $(ARGS)

##@ Generate
.PHONY: crds dashboards locks
crds: venv ## Write crds/ from the API types
	PYTHONPATH=$(ROOTS) $(BIN)/python -m iris_operator.api.crd > crds/irismodelreleases.yaml.new
	mv crds/irismodelreleases.yaml.new crds/irismodelreleases.yaml
dashboards: venv ## Write the dashboards, and the rules in their other forms, from deploy/observability
	PYTHONPATH=$(ROOTS) $(BIN)/python -m iris_observability
locks: venv ## Resolve every requirements.in again, to the newest versions that fit together
	bash tests/lock.sh

##@ Prepare
.PHONY: venv packages components
venv: $(VENV)/.installed ## The development environment in .venv, from hashes
packages: ## The Debian packages that the tests need (installs only what is missing; starts no service)
	@bash tests/packages.sh
components: ## The servers and tools that the tests run, from their Go modules (17 minutes the first time)
	@$(LOCAL) build kubernetes prometheus promtool alertmanager kubeconform traefik victorialogs otelcol registry actionlint health

$(VENV)/.installed: tests/requirements.txt tests/bootstrap.txt
	@python3 -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed, this is " + sys.version)'
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/bootstrap.txt
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes tests/requirements.txt
	touch $@

.PHONY: help
help: ## This text
	@echo 'Releases ML models on Kubernetes by themselves. Start with `make demo`; nothing but Python 3.11, Go, make and root is needed.'
	@awk -F ':.*## ' '/^##@ /{print "\n" substr($$0, 5)} /^[a-z0-9-]+:.*## /{printf "  %-24s %s\n", $$1, $$2}' Makefile
	@printf '\nPass more to pytest with ARGS, as in: make test-fast ARGS="-k weights -x"\n'
