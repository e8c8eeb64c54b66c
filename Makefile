# Everything here is run by hand and by CI alike; .ci/run calls `make check`.

SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
LDFLAGS := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 20s
PLATFORMS ?= darwin/arm64 windows/amd64
CROSS ?= ./cmd/... ./bench

# One kind of build for all that CI does, so that every package is compiled once:
# most of a run on a bare machine is that. Without DWARF it is a fifth less.
RACE := -race -gcflags=all=-dwarf=false -ldflags=-w
# Each process would wait for a second at its end, in case of another race.
export GORACE := atexit_sleep_ms=10
PLAIN = GOFLAGS='$(filter-out $(RACE),$(GOFLAGS))'

.PHONY: help demo test check build vet staticcheck cross fuzz fuzz-short bench bench-growth bench-short matrix matrix-short faults faults-short soak soak-short deploy fixtures servers lint fmt clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## bin/slotferry, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/slotferry ./cmd/slotferry

demo: servers build ## real servers, an import with live progress, a check of every key
	bin/slotferry demo

# Much of the time tests wait for servers: one package more than there are
# processors keeps those at work.
test: servers ## all tests, on real servers
	$(GO) test $(RACE) -vet=off -shuffle=on -timeout 8m -p $$(($$(getconf _NPROCESSORS_ONLN) + 1)) ./...

check: export GOFLAGS := $(GOFLAGS) $(RACE)
check: servers ## what CI runs
	@./scripts/check.sh

lint: vet staticcheck ## gofmt, vet, staticcheck

vet:
	@test -z "$$(gofmt -l .)" || { gofmt -d . | head -50; echo 'run: gofmt -w .'; exit 1; }
	$(GO) vet ./...

staticcheck:
	$$($(PLAIN) $(GO) tool -n staticcheck) $(STATICCHECK) ./...

# Whether it compiles, which is quickest without optimizing.
cross: ## builds for the other platforms
	@for p in $(PLATFORMS); do \
	    echo "build $$p"; \
	    $(PLAIN) CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -gcflags='all=-N -l -dwarf=false' -o /dev/null $(CROSS) || exit 1; \
	done

fuzz: ## every fuzz test for FUZZTIME (20s) each
	@./scripts/fuzz.sh $(FUZZTIME)

# Without the instrumentation that guides it, for which everything would have to
# be compiled once more; the tests run all seeds anyway.
fuzz-short:
	@FUZZGUIDE=no ./scripts/fuzz.sh 1000x rdbparse resp importer/choice

bench: servers ## how fast, beside the ceiling and redis-cli; 15 minutes; writes bench/RESULTS.md
	$(GO) run ./bench

bench-growth: servers ## 0.1 to 5 M keys, 3 and 6 masters; 10 minutes, 12 GB; writes bench/GROWTH.md
	$(GO) run ./bench --growth

bench-short: servers
	$(GO) run ./bench --short

matrix: ## every version of the servers to every other, fetched first (120 MB); writes docs/compatibility.md
	$(GO) run ./matrix

matrix-short: servers
	$(GO) run ./matrix --short

faults: servers ## kills, failovers, reshards and cut connections during imports; an hour and a half; writes faults/RESULTS.md
	$(GO) run ./faults --out faults/RESULTS.md

faults-short: servers
	$(GO) run ./faults --short

MINUTES ?= 30

soak: servers ## slotferry serve for MINUTES (30) while things go wrong; writes soak/RESULTS.md
	$(GO) run ./soak --minutes $(MINUTES) --out soak/RESULTS.md

soak-short: servers
	$(GO) run ./soak --short

deploy: ## manifests, units, rules and dashboard fit the program; a module of its own
	@test -z "$$(gofmt -l deploy)" || { echo 'run: gofmt -w deploy'; exit 1; }
	cd deploy && $(GO) vet . && $(GO) test -shuffle=on .

fixtures: ## makes the RDB fixtures again, from the servers below the folder SERVERS
	$(GO) run ./rdbparse/testdata/make.go $(SERVERS)

servers: ## installs redis-server and redis-cli when they are missing
	@./scripts/need-redis.sh

fmt:
	gofmt -w .

clean:
	rm -rf bin
