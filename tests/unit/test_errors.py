import pytest

from counterfoil.domain import errors


@pytest.mark.parametrize(
    ("error", "name", "value"),
    [
        (errors.LoginRefusedError("no", retry_in=3.0), "retry_in", 3.0),
        (errors.LoginRefusedError("no"), "retry_in", 0.0),
        (errors.TransientError("later", retry_after=2.0), "retry_after", 2.0),
        (errors.PausedError("later"), "retry_after", None),
        (errors.PermanentError("never", status=404), "status", 404),
        (errors.PermanentError("never"), "status", None),
    ],
)
def test_an_error_keeps_its_words_and_what_is_known(error, name, value):
    assert str(error) in {"no", "later", "never"}
    assert getattr(error, name) == value


def test_every_error_of_ours_is_one_of_ours():
    made = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(made) == 8
    assert all(issubclass(kind, errors.CounterfoilError) for kind in made)
    assert issubclass(errors.PausedError, errors.TransientError)
    assert issubclass(errors.LoginRefusedError, errors.ConfigurationError)
