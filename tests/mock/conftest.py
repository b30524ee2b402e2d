from tests.cli.conftest import servecap  # noqa: F401 (a fixture)
