"""Clients that no platform lists: the registrants that it knows, the owners of their accounts, and pages that lack both."""

import pytest

from counterfoil.store.intents import Queue
from support.boundary import PROFILE
from support.explaining import NAME, ledger
from support.store import page, write


@pytest.fixture
def it(database_url):
    with ledger(database_url) as it:
        yield it


def clients(it):
    columns = "platform, id, external_id, email, first_name, created_at, updated_at, deleted_at"
    return it.rows(f"SELECT {columns} FROM mirror.clients ORDER BY id")


def owners(it):
    return dict(it.rows("SELECT id, client_id FROM mirror.accounts ORDER BY id"))


def client_id(it, registrant="7"):
    return it.it.owner.value("SELECT client_id FROM counterfoil.registrants WHERE registrant_id = %s", registrant)


def test_registrants_that_the_platform_knows_become_clients(it):
    it.member()
    it.it.crm.call("register", "8", {"email": "8@example.com"}, NAME)
    it.it.crm.call("register", "9", PROFILE, "live")
    it.it.owner.confirm("9")
    run = it.look("clients")
    assert clients(it) == [(NAME, client_id(it), "7", "7@example.com", None, None, None, None)]
    assert run.written.inserted == 1


def test_what_agrees_is_not_written_again(it):
    it.member()
    it.read_accounts()
    assert it.look("clients").written.anything
    before = it.version()
    assert not it.look("clients").written.anything
    assert it.version() == before


def test_a_new_address_and_a_client_that_was_thought_gone_are_written(it):
    it.member()
    it.look("clients")
    it.rows("""UPDATE counterfoil.registrants SET profile = profile || '{"email": "new@example.com"}'""")
    it.rows("UPDATE mirror.clients SET deleted_at = now()")
    assert it.look("clients").written.changed == 1
    assert clients(it) == [(NAME, client_id(it), "7", "new@example.com", None, None, None, None)]


def test_a_linked_account_gets_its_owner_and_keeps_it_when_accounts_are_read_again(it):
    account, stranger = it.member(), it.account()
    it.read_accounts()
    assert owners(it) == {account.id: None, stranger.id: None}
    before = it.version()
    it.look("clients")
    assert owners(it) == {account.id: client_id(it), stranger.id: None}
    assert it.rows("SELECT id FROM mirror.accounts WHERE version > %s", before) == [(account.id,)]
    before = it.version()
    it.read_accounts()
    assert it.version() == before
    account.balance += 1
    it.read_accounts()
    assert owners(it)[account.id] == client_id(it)


@pytest.mark.parametrize(("confirmed", "owned"), [(False, False), (True, True)])
def test_an_account_has_an_owner_only_when_the_link_is_confirmed(it, confirmed, owned):
    it.it.crm.call("register", "7", {"email": "7@example.com"}, NAME, {})
    it.it.owner.advance("7", "sent", "confirmed")
    it.it.owner.advance("7/1", "sent", "confirmed", kind="account")
    it.it.owner.advance("7/1", "sent", *(["confirmed"] if confirmed else ["unknown"]), kind="link")
    account = it.account(number=it.it.owner.value("SELECT account_id FROM counterfoil.accounts"))
    it.read_accounts()
    it.look("clients")
    assert (owners(it)[account.id] is not None) is owned


def test_an_adopted_account_gets_its_owner(it):
    it.it.crm.call("register", "7", {"email": "7@example.com"}, NAME)
    it.it.owner.advance("7", "sent", "confirmed")
    it.it.crm.call("adopt_account", "old", "7", NAME, 501)
    number = it.it.owner.advance("old", "sent", "confirmed")
    account = it.account(number=10_000 + number)
    it.read_accounts()
    it.look("clients")
    assert owners(it) == {account.id: client_id(it)}


def test_a_page_that_tells_owners_is_believed(it):
    account = it.member()
    it.read_accounts()
    it.look("clients")
    row = {"id": account.id, "balance": 1}
    it.run(write(it.database, "accounts", {**row, "client_id": 4}, platform=NAME))
    assert owners(it) == {account.id: 4}
    it.run(write(it.database, "accounts", {**row, "client_id": None}, platform=NAME))
    assert owners(it) == {account.id: None}
    assert "client_id" not in page(row).columns


def test_clients_that_we_wrote_ourselves_are_no_drift(it):
    it.member()
    it.look("clients")
    it.look("clients")
    it.rows("UPDATE mirror.clients SET email = 'else@example.com', first_name = 'Eve'")
    queue = Queue(it.database, NAME, None)
    assert (it.run(queue.drift()), it.rows("SELECT field FROM counterfoil.drift")) == ([], [])
