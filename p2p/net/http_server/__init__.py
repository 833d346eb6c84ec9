"""HTTP for others to ask: connections within bounds, a guard around the application, and bodies of requests.

    serving      accepts connections, within bounds, and stops gracefully
    connections  who has one: networks share them
    turns        whose words are read next
    stream       a connection's bytes: gives up on those that take nothing
    framing      where a request ends, and what an answer looks like; without IO
    exchange     a request and its answer, as ASGI has them
    speaking     one connection from its first request to its end
    guard        the outermost layer of an application: leaves no body half read
    bodies       bodies in memory, which networks share
    events       answers that go on: server-sent events
    metrics      how many requests, and how long they take
    refusals     what is answered instead, and how a host is counted

It knows nothing of what is served. What an application answers is its own.

Requests are read by h11, each in a fresh state, and answers are written here: of the 140 us that h11 takes for a small
request and its answer, 100 go into checks of our own headers. httptools would save 30 more of the 350 that a small
range costs in all, with a parser in C for strangers' bytes.
"""
