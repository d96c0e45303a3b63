SHELL := bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo
PYTHON ?= python3
VENV ?= .venv
VENV_CHECKOV ?= .venv-checkov
TOOLS_DIR ?= .tools
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
SERVERS := $(TARGET_DIR)/servers
ARGS ?=
GROWTH ?= --plot docs/growth.svg
EVENT ?= events/service-provider-config.json
POLICY ?= veza
TARGET ?= filter
INSTALL_PROFILE ?= tool
DIST_PROFILE ?= release
IMAGE ?= rollcall-dev
BUILD_IMAGE ?= rust:1.95-bookworm
BASE_IMAGE ?= gcr.io/distroless/cc-debian12:nonroot
SECONDS_EACH ?= 60
CRASH_RUNS ?= 500
CRASH_MEMBERS ?= 5000
# Installs a program without optimisation. cargo-deny then builds in 95 seconds of processor time, and checks in two.
QUICK_INSTALL := CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    $(CARGO) install --quiet --locked --root $(TOOLS_DIR)
TOOLS := SAM_CLI_TELEMETRY=0 PATH="$(abspath $(VENV))/bin:$$PATH"
CLIENT_TYPESCRIPT := clients/typescript
FEED_FIRST ?= 2
FEED_SEEDS ?= 1
FEED_SECONDS ?= 20
FEED_PROFILE ?= test
# The commands of the clients' mirrors. Each takes a database as its last argument.
FEED_MIRRORS = $(abspath $(CLIENT_PYTHON_VENV))/bin/python -m rollcall_client mirror --sqlite;node $(abspath $(CLIENT_TYPESCRIPT))/dist/src/command.js --sqlite
NOWHERE := AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_DEFAULT_REGION=eu-west-1
CLIENT_PYTHON_VENV := .venv-client-python
EXAMPLE_VENV := .venv-example
# The program that the clients and the example are tested against. It is built unless ROLLCALL_BIN names one.
BUILT := $(abspath $(or $(ROLLCALL_BIN),$(TARGET_DIR)/debug/rollcall))
# What only development uses: none of it may be in a deployed function.
DEVELOPMENT := aws-config|axum|clap|dynoxide-rs|libsqlite3-sys|rusqlite|yaml_serde|aws-sdk-apigateway

.DEFAULT_GOAL := help
.PHONY: help run install dist image docs test test-long restore-drill failure-drill upgrade-test check check-code check-dependencies testers schemathesis client-python client-typescript client-mirrors example example-test docs-test beside rust-tests built-rollcall conformance build lint-template costs sbom sam-test invoke deploy openapi errors bench bench-peers bench-cold fuzz clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Run everything on this machine, on an embedded table (ARGS="--port 3000 --policy standard")
	$(CARGO) run --features cli --bin rollcall -- dev $(ARGS)

install: ## Install the tool rollcall into cargo's folder (INSTALL_PROFILE=dev takes what make run has built)
	$(CARGO) install --quiet --path . --locked --features cli --bin rollcall --profile $(INSTALL_PROFILE)
	@echo "Installed $$(command -v rollcall || echo 'rollcall into $${CARGO_HOME:-~/.cargo}/bin, which is not in the PATH')"

dist: $(TOOLS_DIR)/bin/cargo-cyclonedx ## Write target/dist: the tool for this machine in an archive, its SBOM, checksums (DIST_PROFILE=dev)
	$(CARGO) build --locked --profile $(DIST_PROFILE) --features cli --bin rollcall
	PATH="$(abspath $(TOOLS_DIR))/bin:$$PATH" tests/operations/dist.sh \
	    "$(TARGET_DIR)/$(subst dev,debug,$(DIST_PROFILE))/rollcall" target/dist

image: ## Make a container image of `rollcall dev` (IMAGE, BUILD_IMAGE, BASE_IMAGE; BINARY=… takes a built rollcall)
	rm -rf target/image && mkdir -p target/image
	test -z "$(BINARY)" || strip -o target/image/rollcall "$(BINARY)"
	docker build --tag $(IMAGE) --build-arg BUILD_IMAGE="$(BUILD_IMAGE)" --build-arg BASE_IMAGE="$(BASE_IMAGE)" .

docs: $(TOOLS_DIR)/bin/mdbook $(TOOLS_DIR)/bin/mdbook-mermaid ## Build target/book, a site of all pages, and check its links
	PATH="$(abspath $(TOOLS_DIR))/bin:$$PATH" $(PYTHON) -B tests/docs/book.py target/book

test: ## Run every check that needs no docker and no AWS account; install what they need
	$(MAKE) --no-print-directory check
	$(CARGO) test --features cli --no-run
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target beside ROLLCALL_BIN="$(abspath $(TARGET_DIR))/debug/rollcall"

# The Rust tests run beside the others, which go one after another: both mostly wait for installations, for each other's
# answers and for time to pass.
beside: rust-tests client-python schemathesis client-typescript example-test testers lint-template docs-test client-mirrors

rust-tests:
	$(CARGO) test --features cli

# The tools are built beside the checks of the code: both leave a processor idle for a good part of their time.
check: ## Check format, lints, documentation, events, dependencies and their licences
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target check-code check-dependencies

check-dependencies: $(TOOLS_DIR)/bin/cargo-machete $(TOOLS_DIR)/bin/cargo-deny
	$(TOOLS_DIR)/bin/cargo-machete --skip-target-dir
	$(TOOLS_DIR)/bin/cargo-deny --log-level warn check bans licenses sources

check-code:
	$(CARGO) fmt --check
	$(PYTHON) events/generate.py --check
	tree=$$($(CARGO) tree --edges normal --prefix none --no-default-features --features aws); \
	    ! grep -E '^($(DEVELOPMENT)|aws-sdk-eventbridge) ' <<<"$$tree"
	tree=$$($(CARGO) tree --edges normal --prefix none --no-default-features --features oauth); \
	    ! grep -E '^($(DEVELOPMENT)|aws-sdk-eventbridge) ' <<<"$$tree"
	tree=$$($(CARGO) tree --edges normal --prefix none --no-default-features --features deliver); \
	    ! grep -E '^($(DEVELOPMENT)) ' <<<"$$tree"
	tests/operations/shared_features.sh
	$(CARGO) check --no-default-features --features aws --bin scim --bin authorizer --bin app_authorizer --bin app_read
	$(CARGO) check --no-default-features --features oauth,pre-traffic,usage-keys --bin token --bin pre_traffic --bin app_manage
	$(CARGO) check --lib --no-default-features
	CUSTOM_LIBFUZZER_PATH=/dev/null $(CARGO) check --locked --manifest-path fuzz/Cargo.toml --target-dir "$(TARGET_DIR)"
	$(CARGO) clippy --all-targets --features cli -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --features cli

$(TOOLS_DIR)/bin/cargo-machete:
	$(QUICK_INSTALL) --version 0.9.2 cargo-machete

$(TOOLS_DIR)/bin/cargo-deny:
	$(QUICK_INSTALL) --no-default-features --version 0.20.2 cargo-deny

$(TOOLS_DIR)/bin/mdbook:
	$(QUICK_INSTALL) --no-default-features --features search --version 0.5.4 mdbook

$(TOOLS_DIR)/bin/mdbook-mermaid:
	$(QUICK_INSTALL) --version 0.17.1 mdbook-mermaid

testers: ## Play independent testers: scim2-tester under each policy, scim-sanity
	ROLLCALL_BIN="$(ROLLCALL_BIN)" tests/conformance/testers.sh

schemathesis: ## Play requests made from docs/openapi.json against `rollcall dev`
	ROLLCALL="$(ROLLCALL_BIN)" tests/conformance/schemathesis.sh

docs-test: built-rollcall ## Run the commands of README.md and docs, as they stand there (PAGES="docs/day.md")
	ROLLCALL_BIN="$(BUILT)" $(PYTHON) -B tests/docs/run.py $(PAGES)

built-rollcall:
	@test -n "$(ROLLCALL_BIN)" || $(CARGO) build --quiet --features cli --bin rollcall

client-python: built-rollcall $(CLIENT_PYTHON_VENV)/installed ## Check and test the Python client against `rollcall dev`, SQLite and PostgreSQL
	clients/install-package.sh initdb postgresql || echo "The tests with PostgreSQL are skipped."
	cd clients/python && ../../$(CLIENT_PYTHON_VENV)/bin/python generate.py --check
	cd clients/python && ../../$(CLIENT_PYTHON_VENV)/bin/mypy
	cd clients/python && ROLLCALL_BIN="$(BUILT)" ../../$(CLIENT_PYTHON_VENV)/bin/pytest --quiet -rs

client-mirrors: $(CLIENT_PYTHON_VENV)/installed $(CLIENT_TYPESCRIPT)/dist/src/command.js ## Let the mirrors of both clients play in the model of the change feed (FEED_SEEDS=1 FEED_SECONDS=20)
	FEED_FIRST=$(FEED_FIRST) FEED_SEEDS=$(FEED_SEEDS) FEED_SECONDS=$(FEED_SECONDS) FEED_MIRRORS="$(FEED_MIRRORS)" \
	    $(CARGO) test --profile $(FEED_PROFILE) --features cli --test feed_model -- --nocapture

restore-drill: $(CLIENT_PYTHON_VENV)/installed ## Do the steps of docs/runbook.md for a restored table, and for a stack that is made again
	FEED_MIRRORS="$(abspath $(CLIENT_PYTHON_VENV))/bin/python -m rollcall_client mirror --sqlite" \
	    $(CARGO) test --features cli --test suite_failures -- --nocapture --test-threads=1 restore_drill::

failure-drill: ## Let the table fail, a function die and a deployment be wrong: which alarms fire, and what is lost
	$(CARGO) test --features cli --test failure_drill -- --nocapture

# The old release is built in a work tree of its own, with a copy of what is built here.
upgrade-test: ## Let an older release and this one serve one table at the same time (OLD=<git revision>)
	@test -n "$(OLD)" || { echo 'make upgrade-test OLD=<git revision>'; exit 2; }
	tests/operations/upgrade-test.sh "$(OLD)" "$(abspath $(TARGET_DIR))" "$(CARGO)"

$(CLIENT_TYPESCRIPT)/dist/src/command.js: $(CLIENT_TYPESCRIPT)/node_modules/.package-lock.json $(wildcard $(CLIENT_TYPESCRIPT)/src/*.ts $(CLIENT_TYPESCRIPT)/src/mirror/*.ts)
	cd $(CLIENT_TYPESCRIPT) && npm run --silent build

$(CLIENT_PYTHON_VENV)/installed: clients/python/pyproject.toml clients/python/requirements-dev.txt
	$(PYTHON) -m venv $(CLIENT_PYTHON_VENV)
	$(CLIENT_PYTHON_VENV)/bin/pip install --quiet --disable-pip-version-check \
	    --editable clients/python --requirement clients/python/requirements-dev.txt
	touch $@

example: built-rollcall $(EXAMPLE_VENV)/installed ## Run examples/team-directory with `rollcall dev` (PORT=8000)
	ROLLCALL_BIN="$(BUILT)" PYTHON="$(abspath $(EXAMPLE_VENV))/bin/python" examples/team-directory/run.sh

example-test: built-rollcall $(EXAMPLE_VENV)/installed ## Test the example in a browser (Chromium; installed by apt-get as root)
	clients/install-package.sh chromedriver chromium chromium-driver
	cd examples/team-directory && ROLLCALL_BIN="$(BUILT)" ../../$(EXAMPLE_VENV)/bin/pytest --quiet tests

$(EXAMPLE_VENV)/installed: examples/team-directory/requirements.txt examples/team-directory/requirements-dev.txt clients/python/pyproject.toml
	$(PYTHON) -m venv $(EXAMPLE_VENV)
	cd examples/team-directory && ../../$(EXAMPLE_VENV)/bin/pip install --quiet --disable-pip-version-check \
	    --requirement requirements-dev.txt
	touch $@

client-typescript: $(CLIENT_TYPESCRIPT)/node_modules/.package-lock.json ## Check and test the TypeScript client against `rollcall dev`
	test -n "$(ROLLCALL_BIN)" || $(CARGO) build --quiet --features cli --bin rollcall
	cd $(CLIENT_TYPESCRIPT) && \
	    ROLLCALL_BIN="$(abspath $(or $(ROLLCALL_BIN),$(TARGET_DIR)/debug/rollcall))" npm run --silent check

$(CLIENT_TYPESCRIPT)/node_modules/.package-lock.json: $(CLIENT_TYPESCRIPT)/package-lock.json
	clients/install-package.sh npm nodejs npm
	cd $(CLIENT_TYPESCRIPT) && npm ci --no-audit --no-fund
	touch $@

conformance: ## Play the test cases against a deployment (BASE=https://…/scim/v2 TOKEN=rc_… POLICY=veza)
	@test -n "$(BASE)" -a -n "$(TOKEN)" || { echo 'make conformance BASE=<base URL> TOKEN=<key> POLICY=<its policy>'; exit 2; }
	@$(PYTHON) tests/conformance/play.py --base "$(BASE)" --token "$(TOKEN)" --policy "$(POLICY)" $(ARGS)

$(VENV)/bin/sam:
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check aws-sam-cli==1.170.0 cfn-lint==1.58.0

$(VENV)/bin/cargo-lambda: | $(VENV)/bin/sam
	$(VENV)/bin/pip install --quiet --disable-pip-version-check cargo-lambda==1.9.2

build: $(VENV)/bin/cargo-lambda ## Build the functions for AWS (ARGS="--parameter-overrides Architecture=x86_64")
	$(TOOLS) sam build $(ARGS)

lint-template: $(VENV)/bin/sam $(VENV_CHECKOV)/bin/checkov ## Check template.yaml, the runbook and the costs, without an AWS account
	$(TOOLS) $(NOWHERE) sam validate --lint
	$(TOOLS) cfn-lint template.yaml
	$(VENV)/bin/python tests/operations/check_template.py
	$(VENV)/bin/python tests/operations/costs.py --check
	$(VENV_CHECKOV)/bin/python tests/operations/check_security.py

# An environment of its own: its dependencies are not those of SAM.
$(VENV_CHECKOV)/bin/checkov:
	$(PYTHON) -m venv $(VENV_CHECKOV)
	$(VENV_CHECKOV)/bin/pip install --quiet --disable-pip-version-check checkov==3.3.30

$(TOOLS_DIR)/bin/cargo-cyclonedx:
	$(QUICK_INSTALL) --version 0.5.9 cargo-cyclonedx

costs: $(VENV)/bin/sam ## Write docs/costs.md anew, from units, prices and the template
	$(VENV)/bin/python tests/operations/costs.py

sbom: $(TOOLS_DIR)/bin/cargo-cyclonedx ## Write target/sbom: what the functions and the tool are built of (CycloneDX)
	PATH="$(abspath $(TOOLS_DIR))/bin:$$PATH" tests/operations/sbom.sh target/sbom

sam-test: ## Compare the functions under `sam local start-api` with `rollcall dev` (Linux, docker)
	ROLLCALL_VENV="$(abspath $(VENV))" tests/sam/run.sh

invoke: ## Hand an event to a function (EVENT=events/users-list.json)
	ROLLCALL_VENV="$(abspath $(VENV))" tests/sam/invoke.sh $(EVENT)

deploy: build ## Deploy to the AWS account of the environment, with questions
	$(TOOLS) sam deploy --guided

openapi: ## Write docs/openapi.json and docs/app-openapi.json anew, and the types of the clients that are installed
	$(CARGO) run --quiet --features cli --bin rollcall -- openapi --to docs/openapi.json
	$(CARGO) run --quiet --features cli --bin rollcall -- openapi --app --to docs/app-openapi.json
	test ! -e $(CLIENT_PYTHON_VENV)/installed || $(CLIENT_PYTHON_VENV)/bin/python clients/python/generate.py
	test ! -d $(CLIENT_TYPESCRIPT)/node_modules || npm run --silent --prefix $(CLIENT_TYPESCRIPT) generate

errors: ## Write docs/errors.md anew, from tests/mistakes.json and the texts of notes and hints
	WRITE=1 $(CARGO) test --quiet --features cli --test cases page

bench: ## Measure as ratios of one run: the core beside other crates, operations as tenants grow (GROWTH="--users 1000000"), many clients on one group, the function over bare calls (with instructions if valgrind is installed)
	$(CARGO) run --release --manifest-path benches/peers/Cargo.toml
	$(CARGO) bench --features cli --bench growth -- $(GROWTH)
	$(CARGO) bench --features cli --bench contention
	$(CARGO) bench --features cli --bench floor -- --page docs/performance.md

bench-peers: $(SERVERS)/installed ## Compare with other servers of SCIM in one run: scimmy-routers (npm) and scim2-server (PyPI), installed below target
	$(CARGO) build --profile bench --features cli --bin rollcall
	$(PYTHON) benches/servers/compare.py --rollcall $(TARGET_DIR)/release/rollcall --folder $(SERVERS) --page docs/performance.md

$(SERVERS)/installed: $(addprefix benches/servers/,package.json requirements.txt scimmy.js)
	mkdir -p $(SERVERS)
	cp benches/servers/package.json benches/servers/scimmy.js $(SERVERS)
	npm install --silent --no-audit --no-fund --prefix $(SERVERS)
	$(PYTHON) -m venv $(SERVERS)/venv
	$(SERVERS)/venv/bin/pip install --quiet --requirement benches/servers/requirements.txt
	touch $@

bench-cold: ## Measure how long a new process of each function takes to its first answer, as a ratio to a bare function (ARGS="--runs 30 --memory 256,512"; Linux, root)
	ROLLCALL_VENV="$(abspath $(VENV))" benches/cold/run.sh $(ARGS)

test-long: ## Play the long versions of tests: large tenants, more races and walks, crashes (CRASH_RUNS=500 CRASH_MEMBERS=5000)
	SCALE_USERS=100000 SCALE_MEMBERS=100000 RACE_ROUNDS=200 WALK_SEEDS=12 TORN_SEEDS=8 $(CARGO) test --features cli \
	    --test suite_protocol --test suite_failures -- \
	    scale:: scale_changes:: races:: group_races:: paging:: pages:: changes:: appliers:: restore_torn::
	RATE_SECONDS=600 $(CARGO) test --features cli --test suite_protocol rates::
	FEED_TENANTS=8 FEED_WRITERS=8 FEED_CHANGES=10000 FEED_KILLS=500 $(MAKE) --no-print-directory client-mirrors \
	    FEED_PROFILE=bench FEED_FIRST=1 FEED_SEEDS=20 FEED_SECONDS=60
	CRASH_RUNS=$(CRASH_RUNS) CRASH_MEMBERS=$(CRASH_MEMBERS) $(CARGO) test --features cli --test suite_failures crash::a_large_change -- --nocapture

fuzz: ## Fuzz one target (TARGET=filter, attr_path, patch or route; SECONDS_EACH=60; needs cargo-fuzz)
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $(if $(filter route,$(TARGET)),--features http) $(TARGET) -- -max_total_time=$(SECONDS_EACH) -timeout=10

clean: ## Remove what was built and installed here
	$(CARGO) clean
	rm -rf .aws-sam $(TOOLS_DIR) $(VENV) $(VENV_CHECKOV) .venv-testers .venv-schemathesis $(CLIENT_PYTHON_VENV) $(EXAMPLE_VENV)
	rm -rf $(CLIENT_TYPESCRIPT)/node_modules $(CLIENT_TYPESCRIPT)/dist
