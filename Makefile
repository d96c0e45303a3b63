SHELL := bash
VENV ?= .venv
CARGO ?= cargo
ARGS ?=
EVENT ?= events/service-provider-config.json
TOOLS := SAM_CLI_TELEMETRY=0 PATH="$(abspath $(VENV))/bin:$$PATH"

.DEFAULT_GOAL := help
.PHONY: help run test check build lint-template sam-test invoke deploy clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Run everything on this machine, on an embedded table (ARGS="--port 3000")
	$(CARGO) run --features cli --bin rollcall -- dev $(ARGS)

test: ## Run the tests
	$(CARGO) test --features cli

check: ## Do what CI does: format, lint, documentation, tests
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --features cli -- -D warnings
	$(CARGO) check --lib --no-default-features
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --features cli
	$(CARGO) test --features cli
	python3 events/generate.py --check

$(VENV)/bin/sam:
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet aws-sam-cli cfn-lint cargo-lambda

build: $(VENV)/bin/sam ## Build the functions for AWS (ARGS="--parameter-overrides Architecture=x86_64")
	$(TOOLS) sam build $(ARGS)

lint-template: $(VENV)/bin/sam ## Check template.yaml, without an AWS account
	$(TOOLS) AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_DEFAULT_REGION=eu-west-1 sam validate --lint
	$(TOOLS) cfn-lint template.yaml

sam-test: ## Compare the functions under `sam local start-api` with `rollcall dev` (Linux, docker)
	ROLLCALL_VENV="$(abspath $(VENV))" tests/sam/run.sh

invoke: ## Hand an event to a function (EVENT=events/users-list.json)
	ROLLCALL_VENV="$(abspath $(VENV))" tests/sam/invoke.sh $(EVENT)

deploy: build ## Deploy to the AWS account of the environment, with questions
	$(TOOLS) sam deploy --guided

clean: ## Remove what was built
	$(CARGO) clean
	rm -rf .aws-sam
