import pytest

from p2p.environments import omissions
from p2p.environments.omissions import Verdict


@pytest.mark.parametrize("name", [".env", ".env.local", ".envrc", ".netrc", "pip.conf", ".pypirc", ".git-credentials"])
def test_what_holds_passwords_is_left_out(name: str) -> None:
    assert omissions.of_name(name)[0] is Verdict.LEFT_OUT


@pytest.mark.parametrize(
    "name",
    [
        "secrets.json",
        "credentials",
        "my-password.txt",
        "api_key.yaml",
        "access-token.json",
        "id_rsa",
        "vault.kdbx",
        "service-account.json",
        "AWS_CREDENTIALS.ini",
        "client.p12",
        "private_key.txt",
    ],
)
def test_names_of_secrets_are_doubtful(name: str) -> None:
    assert omissions.of_name(name)[0] is Verdict.DOUBTFUL


@pytest.mark.parametrize(
    "name",
    [
        "secrets.py",
        "token.py",
        "credentials.py",
        "getpass.py",
        "secretstorage.cpython-311-x86_64-linux-gnu.so",
        "tokenizer.json",
        "special_tokens_map.json",
        "cacert.pem",
        "environment.yml",
        ".envelope",
        "passwords.js",
    ],
)
def test_modules_and_data_are_not(name: str) -> None:
    assert omissions.of_name(name)[0] is Verdict.TAKEN


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"https://me:word@host/a.git", b"https://host/a.git"),
        (b"https://ghp_abc@github.com/a", b"https://github.com/a"),
        (b"git+https://x:y@h/p", b"git+https://h/p"),
        (b"ssh://git@github.com/a", b"ssh://git@github.com/a"),
        (b"postgres://me:word@h/db", b"postgres://h/db"),
        (b"https://conda.example.org/t/to-ken/main/a.conda", b"https://conda.example.org/main/a.conda"),
        (b"https://example.org/a@b", b"https://example.org/a@b"),
    ],
)
def test_credentials_are_taken_out_of_urls(before: bytes, after: bytes) -> None:
    assert omissions.without_credentials(before, "direct_url.json") == after


def test_the_text_about_a_package_stays() -> None:
    told = b"Name: a\nHome-page: https://u:p@h/\n\nUse postgres://user:password@localhost/db\n"
    assert omissions.without_credentials(told, "METADATA") == told.replace(b"u:p@", b"")


def test_files_are_included_by_path_name_or_pattern() -> None:
    assert omissions.is_included("/a/b/secret.txt", ["secret.txt"])
    assert omissions.is_included("/a/b/secret.txt", ["/a/b/secret.txt"])
    assert omissions.is_included("/a/b/secret.txt", ["*.txt"])
    assert not omissions.is_included("/a/b/secret.txt", ["secret"])
