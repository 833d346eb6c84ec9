"""Helpers of the tests: everything under `tests` that is neither a test, a conftest nor a golden recording.

Peers and processes
* `world`: many real peers in one process, on loopback, and rogues beside them.
* `world_jobs`: jobs in a world: owners, volunteers, and scripted ones of either kind.
* `rogue_sources`, `rogue_volunteers`: how peers that serve chunks, and peers that volunteer, misbehave.
* `dht_peers`: peers of one DHT, and what it has.
* `dht_overlay`: nodes of the DHT on loopback, each under an address prefix of its own.
* `http_trackers`: trackers that answer whatever a test has them answer.
* `pipes`: connections over in-memory streams, and a peer that only dials.
* `processes`: real processes of the real command, each peer with a home of its own.
* `fleet`: volunteers as processes, and an owner, volunteers and a tracker one of which is killed during a job; also
  for `scripts.bench.kills`. The benchmarks may import these helpers; no test imports a benchmark.
* `tracker_site`: a tracker as a process, peers that announce to it, and its pages as a program reads them.
* `pages.browser`: Chromium, whether anything hostile ran in it, and what it asked for.
* `namespaces`: two hosts on a network of their own, made of network namespaces.
* `programs`: programs that tests start as processes of their own.

Material
* `announces`: what peers tell a tracker, the same in every run.
* `manifests`: shares made of nothing but sizes, and bytes as a hostile peer would bend them.
* `pages.hostile_names`: names, and files, that would run if anything took them for more than what they are.
* `small_shares`: shares of known bytes, and naive ways of making and fetching them to compare with.
* `recordings`: the golden files, the key that signed them, and samples of structs.
* `guest_programs`: programs and modules that run in the sandbox.
* `guest_process`: a guest as a process on pipes, and a whole job carried out with it.
* `compiled`: the runtime of plain jobs, compiled before the tests that need it.
* `local_jobs`: jobs as text, run in this process.
* `job_model`: an owner that only carries out what `core.compute.job` decides, and checks each decision.

Checks
* `constants`: the fixture `shorten`, which sets a constant of a module where it is read.
* `leaks`: what a test must not leave behind.
"""
