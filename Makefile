PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
QLIB := .venv-qlib
SPARK := .venv-spark
QLIB_LOCKS := tests/export/requirements-qlib.txt tests/export/requirements-pyqlib.txt

.PHONY: install warehouse test test-all test-spark spark style lint columns docs qlib clean

install: $(INSTALLED)  ## the commands, in .venv/bin

warehouse: $(INSTALLED)  ## build everything on the sandbox exchange, offline
	$(BIN)/perp sandbox warehouse

PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test: $(INSTALLED)  ## every test, but properties that are tried at many places at a few of them only
	$(PYTEST) -m 'not deep'

test-all: $(INSTALLED)  ## at all of them
	$(PYTEST)

test-spark: $(SPARK)/.installed  ## the same values on Spark: macros, and a whole lake; needs Java 17
	$(SPARK)/bin/python -m pytest tests/spark

style: $(INSTALLED)  ## what can be said of the Python in seconds
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint: style  ## and of the SQL in minutes
	$(BIN)/sqlfluff lint dbt_project tests/dbt --disable-progress-bar --processes 2

columns: $(INSTALLED)  ## column lists of marts whose columns follow from the vars of dbt_project.yml
	$(BIN)/python -m dbt_project.columns

docs: $(INSTALLED)  ## the data dictionary as one page: target/static_index.html
	$(BIN)/dbt docs generate --static
	$(BIN)/python -m dbt_project.dictionary

qlib: $(QLIB)/.installed  ## an environment for Qlib, whose packages do not go with ours; tests of exports use it

spark: $(SPARK)/.installed  ## an environment with dbt for Spark: .venv-spark/bin/dbt build --target spark

clean:  ## remove build products; the lake and the warehouse stay
	rm -rf target logs .venv $(QLIB) $(SPARK)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(QLIB)/.installed: $(QLIB_LOCKS)
	$(PYTHON) -m venv $(QLIB)
	$(QLIB)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes $(addprefix -r ,$(QLIB_LOCKS))
	touch $@

$(SPARK)/.installed: requirements-spark.lock pyproject.toml
	$(PYTHON) -m venv $(SPARK)
	$(SPARK)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock
	$(SPARK)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
