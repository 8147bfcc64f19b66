"""The mirror is what the books are: after a first pass, after every round of trading, whatever the page size."""

import pytest

from support.pulling import bench, one_pass


@pytest.mark.parametrize(("page_size", "deals"), [(7, 60), (50, 300), (500, 900)])
async def test_the_mirror_equals_the_books_after_a_first_pass_and_after_every_round(database_url, page_size, deals):
    async with bench(database_url, deals=deals) as it:
        puller = it.puller(page_size=page_size)
        assert await one_pass(puller) == {}
        assert it.differences() == []
        for _ in range(2):
            it.books.trade(3)
            assert await one_pass(puller) == {}
            assert it.differences() == []
