# make help tells the targets.
SHELL   := /bin/bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LABDIR  := backend/backendtest/lab
# LAB=0 leaves out what needs a libvirt of its own; without it, root runs everything.
LAB     ?= $(if $(filter 0,$(shell id -u)),1,0)
# The next is for checks of the checks: make test TESTFLAGS=-race
TESTFLAGS ?=

.PHONY: help build run-demo test bench bench-backup screenshots docs fmt lint clean

help: ## tell the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | column -t -s '|'

build: ## a static binary, ./berth
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o berth .
	@size=$$(stat -c %s berth); echo "berth $(VERSION): $$size bytes"; [ $$size -le 26214400 ] || { echo 'larger than 25 MiB' >&2; exit 1; }

run-demo: ## the program over a simulated fleet
	@go run . --demo

test: ## all tests; as root with real libvirt hosts and guests (LAB=0: without)
ifeq ($(LAB),0)
	BERTH_LAB=0 go test $(TESTFLAGS) -timeout 10m ./...
	@echo 'Left out, because they need root and a libvirt of their own (make test as root runs them):'
	@go test -list '^TestLab' ./... | sed -n 's/^TestLab/  TestLab/p'
else
	@$(LABDIR)/scripts/install || { echo 'make test LAB=0 runs what needs no libvirt' >&2; exit 1; }
	BERTH_LAB=1 go test $(TESTFLAGS) -count=1 -timeout 15m ./...
endif

bench: build ## measure berth beside virsh on the lab, as root
	@$(LABDIR)/scripts/install
	go run ./backend/backendtest/bench -berth ./berth

bench-backup: build ## measure backups and copies beside other tools, as root
	@$(LABDIR)/scripts/install
	@command -v restic virtnbdbackup zstd >/dev/null || apt-get install -y -qq --no-install-recommends restic virtnbdbackup zstd >/dev/null
	go run ./backend/backendtest/benchbackup -berth ./berth

screenshots: VERSION = $(shell git describe --tags --abbrev=0 2>/dev/null || echo development)
screenshots: build ## take screenshots/*.png of the program
	screenshots/take

docs: ## write the generated parts of README.md
	go generate ./...

fmt: ## gofmt everything
	gofmt -l -w .

lint: ## gofmt, vet, staticcheck, govulncheck
	@.ci/lint

clean: ## remove what make made
	rm -rf berth dist
