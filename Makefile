# `make` alone prints the targets.
.DEFAULT_GOAL := help
.PHONY: help run demo up down logs check test test-compose bench fuzz fmt sqlx-prepare clean

# `docker compose` where that plugin is there, else `docker-compose`.
COMPOSE := $(shell if docker compose version >/dev/null 2>&1; then echo docker compose; else echo docker-compose; fi)

help: ## this list
	@echo "make …"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target what; do printf '  %-14s %s\n' "$$target" "$$what"; done

run: ## the system with no container engine; Ctrl-C ends it
	@scripts/run

demo: ## an order takes from the stock, shown against the running system
	@scripts/demo

up: ## the system in containers, in the background
	$(COMPOSE) up --build --detach

down: ## ends the containers; their data stay
	$(COMPOSE) down

logs: ## what the containers log
	$(COMPOSE) logs --follow

check: ## format, clippy, rustdoc, licences, queries
	@scripts/check

test: ## all tests, with servers of their own
	@scripts/test

test-compose: ## the containers: the scene and the hardening
	@scripts/test-compose

bench: ## speed, against the limits of database and broker; ROW=relay for one row
	@scripts/bench $(ROW)

fuzz: ## whatever can be put on the wire, for FUZZ_SECONDS (60)
	@scripts/fuzz

fmt: ## formats the sources
	cargo fmt --all

sqlx-prepare: ## writes .sqlx anew, after a change of a query or a migration
	@scripts/sqlx-prepare

clean: ## removes what was built, and the data of `make run`
	cargo clean
	@for server in .servers/*/postgres .servers/*/rabbitmq; do scripts/servers remove "$$server"; done
	rm -rf .servers .tools
