"""servecap: what will it really cost to serve, at p95?

A discrete-event capacity simulator for self-hosted LLM serving. Data flows one way:

    configs -> cli -> spec.Scenario -> run.simulate -> record.Result -> analysis -> report

Rooms, from the ground up (a room imports only from those above it): ``errors units rng``, ``spec``, ``cost``,
``workload``, ``perf``, ``record``, ``engine``, ``fleet``, ``gateway``, ``run``, ``analysis``, ``search``, ``trust``,
``report``, ``cli``. A test reads the imports and keeps it so.
"""

from sim.forms import pure_is_asked, take_the_sources

if pure_is_asked():
    take_the_sources()
