# The front door. `make run` and `make test` need Rust, a C compiler and make, and nothing else.

CARGO ?= cargo
CHAT ?=
KEEP ?=
RECORD ?=
LAB ?=

.DEFAULT_GOAL := help
.PHONY: help run test soak verify audit fix demo lab simulate bench bench-rocketchat bench-million fuzz contract

# The simulator is a workspace of its own: see docs/decisions/0015.
SIMULATOR := simulations/simulator
# Not part of `make test`: it needs node, npm and, the first time, the internet. See docs/standin.md.
CONTRACT := simulations/standin/contract
REQUESTS ?=

help: ## Show what there is
	@echo "Rocketmesh joins Rocket.Chat servers into one peer-to-peer mesh."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'
	@echo
	@echo "  make demo KEEP=1      lets everything run at the end, to look around in it"
	@echo "  make demo CHAT=FILE   replays an IRC log over three servers (lines like: [12:34] <nick> text)"
	@echo "  make lab LAB=OPTIONS  passes options on, such as LAB='--transport tcp --out /tmp/lab'"

run: ## Build the release binary and run a node on embedded defaults
	$(CARGO) build --release --locked -p rocketmesh
	@./target/release/rocketmesh run

test: ## Run every test of the workspace
	$(CARGO) test --workspace --locked
	cd $(SIMULATOR) && $(CARGO) test --release --workspace --locked

soak: ## Run the long versions of the tests
	ROCKETMESH_SOAK=1 $(CARGO) test --release --workspace --locked
	cd $(SIMULATOR) && ROCKETMESH_SOAK=1 $(CARGO) test --release --locked

verify: ## Check format, lints, docs and dependencies; changes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --document-private-items
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	$(CARGO) deny --locked --all-features check licenses sources bans
	cd $(SIMULATOR) && $(CARGO) fmt --all --check
	cd $(SIMULATOR) && $(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings
	cd $(SIMULATOR) && RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps --locked --document-private-items
	cd $(SIMULATOR) && $(CARGO) deny --locked --all-features --config ../../deny.toml check licenses sources bans

audit: ## Check dependencies for known vulnerabilities (needs the internet)
	$(CARGO) deny --locked check advisories
	cd $(SIMULATOR) && $(CARGO) deny --locked --config ../../deny.toml check advisories

fix: ## Format, and mend what the lints can mend
	$(CARGO) fmt --all
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	cd $(SIMULATOR) && $(CARGO) fmt --all
	cd $(SIMULATOR) && $(CARGO) clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged

demo: ## Let two Rocket.Chat servers (stand-ins) become one on this machine
	$(CARGO) build --release --locked -p rocketmesh -p rocketmesh-standin -p rocketmesh-simulations
	@./target/release/rocketmesh-demo --rocketmesh ./target/release/rocketmesh $(if $(KEEP),--keep) \
	  $(if $(RECORD),--record "$(RECORD)") $(if $(CHAT),--chat "$(CHAT)")

lab: ## Show how nodes connect behind NATs, in an internet of namespaces (Linux, root)
	@test "$$(id -u)" = 0 || { echo "The laboratory makes network namespaces, which only root may do: run make lab as root"; exit 1; }
	@command -v ip >/dev/null || { echo "The laboratory needs \`ip\`, which is not here; the package is called iproute2"; exit 1; }
	@command -v nft >/dev/null || { echo "The laboratory needs \`nft\`, which is not here; the package is called nftables"; exit 1; }
	$(CARGO) build --release --locked -p rocketmesh -p rocketmesh-simulations
	@./target/release/rocketmesh-lab --rocketmesh ./target/release/rocketmesh $(LAB)

simulate: ## Run a short scenario with twenty servers in virtual time, and say where the report is
	cd $(SIMULATOR) && $(CARGO) build --release --locked
	@./target/release/rocketmesh-sim run first-steps --out target/simulations/first-steps

bench: ## Measure: criterion for the parts, then whole nodes
	$(CARGO) bench --locked -p rocketmesh-protocol
	cd protocol/compare && $(CARGO) bench --locked
	$(CARGO) build --release --locked -p rocketmesh -p rocketmesh-standin -p rocketmesh-simulations
	@./target/release/rocketmesh-bench --rocketmesh ./target/release/rocketmesh $(if $(CHAT),--chat "$(CHAT)")

bench-rocketchat: ## As bench, only from one Rocket.Chat server (a stand-in) to another
	$(CARGO) build --release --locked -p rocketmesh -p rocketmesh-standin -p rocketmesh-simulations
	@./target/release/rocketmesh-bench --rocketmesh ./target/release/rocketmesh --only rocketchat

bench-million: ## As bench, only what needs a million events: memory and start-up
	$(CARGO) build --release --locked -p rocketmesh -p rocketmesh-simulations
	@./target/release/rocketmesh-bench --rocketmesh ./target/release/rocketmesh --only million

fuzz: ## Fuzz every decoder for a minute each (needs nightly Rust and cargo-fuzz)
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing: cargo install --locked cargo-fuzz"; exit 1; }
	@for crate in protocol storage; do (cd $$crate && for target in $$(cargo +nightly fuzz list); do \
	  mkdir -p fuzz/target/corpus/$$target; \
	  cargo +nightly fuzz run $$target fuzz/target/corpus/$$target fuzz/corpus/$$target -- -max_total_time=60 || exit 1; \
	done) || exit 1; done

contract: ## Hold the stand-in, and what is asked of it, against what Rocket.Chat publishes (needs node and npm)
	@command -v node >/dev/null || { echo "node is missing: install Node.js 20.6 or newer"; exit 1; }
	@command -v npm >/dev/null || { echo "npm is missing: install it, it comes with Node.js"; exit 1; }
	$(CARGO) build --locked -p rocketmesh-standin
	cd $(CONTRACT) && npm ci --ignore-scripts --no-audit --no-fund && node fetch.mjs
	cd $(CONTRACT) && node check.mjs --standin ../../../target/debug/rocketmesh-standin \
	  $(if $(REQUESTS),--requests "$(abspath $(REQUESTS))")
