import pytest

from counterfoil.domain.attempt import REFUSED, NotSent, misconfigured
from counterfoil.domain.errors import ConfigurationError, LoginRefusedError


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (ConfigurationError("403: may not do this"), REFUSED),
        (LoginRefusedError("403: may not do this"), REFUSED),
        (LoginRefusedError("403: may not do this", retry_in=REFUSED - 1), REFUSED),
        (LoginRefusedError("403: may not do this", retry_in=600.0), 600.0),
    ],
)
def test_a_wrong_setting_is_surely_not_sent_and_holds_up_the_platform_as_long_as_the_login_rests(error, wait):
    assert misconfigured(error) == NotSent("403: may not do this", wait, held=True)
    assert REFUSED == 30.0
