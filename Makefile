# Everything here is run by hand and by CI alike; .ci/run calls `make check`.

SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
LDFLAGS := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 20s

.PHONY: help demo test check browser build cross fuzz fuzz-short bench bench-short fixtures servers lint fmt clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## bin/slotferry, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/slotferry ./cmd/slotferry

demo: servers build ## real servers, an import with live progress, a check of every key
	bin/slotferry demo

test: servers ## all tests, on real servers
	$(GO) test -race -shuffle=on -timeout 8m ./...

check: export SLOTFERRY_BROWSER = required
check: browser lint cross test fuzz-short bench-short ## what CI runs

browser: servers ## installs Chromium, with which the plan's page is tested, when it is missing
	@./scripts/need-chromium.sh

lint: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -d . | head -50; echo 'run: gofmt -w .'; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

cross: ## builds for the other platforms
	@for p in darwin/arm64 windows/amd64; do \
	    echo "build $$p"; \
	    CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/... ./bench || exit 1; \
	done

fuzz: ## every fuzz test for FUZZTIME (20s) each
	@./scripts/fuzz.sh $(FUZZTIME)

# The packages that are quickly built for fuzzing; the tests run all seeds anyway.
fuzz-short:
	@./scripts/fuzz.sh 1s rdbparse resp checkpoint importer/choice

bench: servers ## ceiling and import in turn, 1 M keys; writes bench/RESULTS.md
	$(GO) run ./bench

bench-short: servers
	$(GO) run ./bench --short

fixtures: ## makes the RDB fixtures again, from the servers below the folder SERVERS
	$(GO) run ./rdbparse/testdata/make.go $(SERVERS)

servers: ## installs redis-server and redis-cli when they are missing
	@./scripts/need-redis.sh

fmt:
	gofmt -w .

clean:
	rm -rf bin
