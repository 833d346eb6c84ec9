"""Codes and sessions: each code lets one browser in, for a while."""

from p2p.control.access.sessions import CODE_S, IDLE_S, MAX_CODES, MAX_SESSIONS, Session, Sessions, same


def logged_in(sessions: Sessions, now: float = 0.0) -> Session:
    session = sessions.begin(sessions.new_code(now), now)
    assert session is not None
    return session


def test_a_code_works_once_and_for_a_minute() -> None:
    sessions = Sessions()
    code, late = sessions.new_code(0), sessions.new_code(0)
    assert sessions.begin("", 1) is None
    assert sessions.begin(code[:-1], 1) is None
    session = sessions.begin(code, CODE_S)
    assert session is not None
    assert sessions.begin(code, 1) is None
    assert sessions.begin(late, CODE_S + 1) is None
    assert sessions.begin(late, 1) is None, "it was tried"
    assert sessions.find(session.token, CODE_S) is session
    assert len({session.token, session.form, code}) == 3


def test_codes_and_sessions_are_bounded() -> None:
    sessions = Sessions()
    codes = [sessions.new_code(0) for _ in range(MAX_CODES + 1)]
    assert sessions.begin(codes[0], 0) is None
    assert sessions.begin(codes[1], 0) is not None
    made = [logged_in(sessions, number) for number in range(MAX_SESSIONS)]
    assert sessions.find(made[0].token, MAX_SESSIONS) is made[0]
    newest = logged_in(sessions, MAX_SESSIONS)
    assert sessions.find(made[1].token, MAX_SESSIONS) is None, "it was not seen for longest"
    assert all(sessions.find(one.token, MAX_SESSIONS) for one in (made[0], made[2], newest))


def test_sessions_end() -> None:
    sessions = Sessions()
    one, other = logged_in(sessions), logged_in(sessions)
    assert sessions.find(one.token, IDLE_S) is one
    assert sessions.find(other.token, IDLE_S + 1) is None
    assert sessions.find(one.token, 2 * IDLE_S) is one
    sessions.end(one)
    assert sessions.find(one.token, 2 * IDLE_S) is None
    code, last = sessions.new_code(0), logged_in(sessions)
    sessions.end_all()
    assert sessions.find(last.token, 0) is None
    assert sessions.begin(code, 0) is None


def test_what_is_no_text_is_no_secret() -> None:
    assert same("a", "a")
    assert not same("a", "ä")
    assert not same("a", "\udcff")
