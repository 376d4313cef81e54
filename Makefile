# One place for what people and CI type. What a target does is in scripts/, so that it can be read and run on its own.

.DEFAULT_GOAL := help
.PHONY: help run build test chaos simulate load pairs bench bench-pii observability deny sbom clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Start everything on this machine: NATS, router, extensions, a demo policy
	@scripts/run.sh

build: ## Build all programs
	cargo build --workspace --locked

test: ## Everything that CI checks: format, lints, dependency direction, tests
	@scripts/test.sh

chaos: ## Break everything under load and print a table (see chaos/README.md)
	@scripts/chaos.sh

simulate: ## Play thousands of schedules of faults in virtual time (SEEDS=5000, SEED=7)
	@SIMULATION_SEEDS=$(or $(SEEDS),5000) $(if $(SEED),SIMULATION_SEED=$(SEED)) cargo test --release --quiet --locked -p beamline-actors --test simulation every_promise -- --nocapture

load: ## Measure a router under more load than it can carry (ARGS="--seconds 60")
	@cargo bench --quiet --locked --bench load -- overload $(ARGS)

pairs: ## Compare the throughput with that of another build (BASE=path/to/beamline-router, ROUNDS=40)
	@cargo bench --quiet --locked --bench load -- pairs --base $(or $(BASE),$(error BASE names the program to compare with)) --rounds $(or $(ROUNDS),20) $(ARGS)

bench: ## Measure lookups, plans and choices, and count the heap allocations of a request
	cargo bench --locked --bench registry --bench routing
	cargo bench --quiet --locked --features count-allocations --bench load -- allocations

bench-pii: ## Measure the detection of personal data beside Presidio (SEED=7, TEXTS=5400, ARGS=--show)
	@scripts/bench-pii.sh $(ARGS)

observability: ## Check rules, alerts and dashboards against a real Prometheus (ARGS=quick, ARGS=pictures)
	@scripts/observability.sh $(ARGS)

deny: ## Check licences, bans, sources and advisories of the dependencies
	@scripts/deny.sh

sbom: ## Write a bill of materials of each program (CycloneDX) into target/sbom/
	@scripts/sbom.sh

clean: ## Remove what was built; the databases under .beamline stay
	cargo clean
