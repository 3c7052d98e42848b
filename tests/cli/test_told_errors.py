"""Errors of the engines that a user can mend are told in one line, with what to do; everything else is a bug."""

from __future__ import annotations

import pytest
import redis
from pyspark.errors import AnalysisException

from pedigree.cli.told_errors import told
from pedigree.features.errors import UnknownTableError

from ..redis_server import free_port


def test_a_redis_that_is_away_is_told_and_may_come_back() -> None:
    """As the command's last line, with the code that says that it may work later."""
    with pytest.raises(redis.exceptions.RedisError) as raised:
        redis.Redis(port=free_port()).ping()
    known = told(raised.value)
    assert known is not None
    assert known.transient
    assert "Connection refused. Start it (on a laptop: pedigree up)" in known.message


def test_what_spark_does_not_take_is_told_in_its_first_line() -> None:
    """What a missing column and an unknown type end in: neither the plan nor the JVM's stack is shown."""
    said = "[UNRESOLVED_COLUMN] `amout` cannot be resolved. Did you mean `amount`? SQLSTATE: 42703;\n'Project ['amout]"
    known = told(AnalysisException(said))
    assert known is not None
    assert known.message.startswith("Spark does not take this: [UNRESOLVED_COLUMN] `amout` cannot be resolved")
    assert "SQLSTATE" not in known.message
    assert "Project" not in known.message


def test_our_errors_are_told_as_they_are_and_bugs_are_not_told() -> None:
    """A bug keeps its traceback."""
    error = UnknownTableError("orders", known=["shops"])
    known = told(error)
    assert known is not None
    assert (known.message, known.transient) == (str(error), False)
    assert told(KeyError("amount")) is None
