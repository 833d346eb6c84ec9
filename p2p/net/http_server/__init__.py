"""HTTP for others to ask: connections within bounds, a guard around the application, and bodies of requests.

    serving      accepts connections, within bounds, and stops gracefully
    connections  who has one: networks share them
    turns        whose words are read next
    speaking     one connection to its end, over a stream that gives up on those that take nothing
    guard        the outermost layer of an application: leaves no body half read
    bodies       bodies in memory, which networks share
    refusals     what is answered instead, and how a host is counted

It knows nothing of what is served. What an application answers is its own.
"""
