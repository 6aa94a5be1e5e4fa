"""Allowed callback targets, against URLs that have misled parsers."""

import pytest

from prebook.http.callback_targets import is_allowed_target, unusable_hosts

HOSTS = frozenset(
    {
        "hooks.example.com",
        "riders.example.org:8443",
        "http://127.0.0.1:9000",
        "http://demo",
        "Other.Example.net.",
        "8.8.8.8",
    }
)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "https://hooks.example.com/",
        "https://hooks.example.com:443/bookings?id=7&x=%20",
        "https://riders.example.org:8443/a/b",
        "http://127.0.0.1:9000/hook",
        "http://demo/hook",
        "https://HOOKS.Example.com/",
        "https://hooks.example.com./",
        "https://hooks.example.com.:443/",
        "https://other.example.net/",
        "https://8.8.8.8/",
    ],
)
def test_a_listed_origin_is_allowed(url: str) -> None:
    assert is_allowed_target(url, HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com/",
        "http://hooks.example.com/",  # listed for https only
        "https://127.0.0.1:9000/",  # listed for http only
        "https://hooks.example.com:8443/",
        "https://riders.example.org/",
        "http://127.0.0.1/",
        "http://127.0.0.1:9001/",
        "https://hooks.example.com../",
        "HTTPS://hooks.example.com/",
        "https://hooks.example.com:0443/",
        "https://hooks.example.com:/",
        "https://hooks.example.com:99999999/",
        "https://evil.hooks.example.com/",
        "https://hooks.example.com.evil.test/",
        "https://evil.test/hooks.example.com",
        "https://user@hooks.example.com/",
        "https://hooks.example.com@evil.test/",
        "https://hooks.example.com:443@evil.test/",
        "https://evil.test#@hooks.example.com/",
        "https://evil.test\\@hooks.example.com/",
        "https://hooks.example.com\\.evil.test/",
        "https:\\\\hooks.example.com/",
        "https:/hooks.example.com/",
        "https:///hooks.example.com/",
        "https://hooks.example.com/\r\nX-Evil: 1",
        "https://hooks.example.com/\n",
        "https://hooks.example.com/ ",
        " https://hooks.example.com/",
        "https://hooks.example.com/\x00",
        "https://hooks.example.com/#fragment",
        "https://hooks.example.com/%zz",
        "https://hooks.example.com%2eevil.test/",
        "https://hooks\u3002example\u3002com/",
        "https://hook\u017f.example.com/",
        "https://169.254.169.254/latest/meta-data/",
        "http://localhost:9000/",
        "http://0x7f000001:9000/",
        "http://2130706433:9000/",
        "http://127.1:9000/",
        "http://[::1]:9000/",
        "http://[::ffff:127.0.0.1]:9000/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:9000/_x",
        "ftp://hooks.example.com/",
        "javascript:alert(1)",
        "https://hooks.example.com/" + "a" * 600,
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    assert not is_allowed_target(url, HOSTS)


def test_an_empty_list_or_an_invalid_entry_allows_nothing() -> None:
    assert not is_allowed_target("https://hooks.example.com/", frozenset())
    assert not is_allowed_target(
        "https://evil.test/", frozenset({"", "*", "https://", "https://evil.test:0/", "evil.test/\n"})
    )


def test_every_entry_of_a_usable_list_is_usable() -> None:
    assert unusable_hosts(HOSTS | {"https://hooks.example.com", "[2606:4700:4700::1111]:8443"}) == []


@pytest.mark.parametrize(
    "entry",
    [
        *("*", "*.example.com", "hooks.example.com/hook", "https://hooks.example.com/", "http://demo/hook"),
        *("ftp://hooks.example.com", "HTTP://demo", "hooks.example.com:", "hooks.example.com:0", "demo:65536"),
        *("user@hooks.example.com", "hooks.example.com?x", "hooks.example.com#x", "hooks .example.com", "-a.example"),
        *("2606:4700:4700::1111", "10.0.0.1", "127.1", "2130706433", "127.0.0.1.", "[::1]:443", "[::10.0.0.1]"),
    ],
)
def test_an_entry_that_allows_nothing_is_unusable(entry: str) -> None:
    assert unusable_hosts({entry, "hooks.example.com"}) == [entry]
