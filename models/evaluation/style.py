"""The report's style sheet: light and dark, as the reader's system has it."""

STYLE = """
:root { color-scheme: light dark; --back: #fbfaf8; --card: #fff; --text: #1d1f24; --soft: #666b75; --line: #e3e0da;
  --good: #19713f; --bad: #b3261e; --warn: #fff3d6; --c0: #2f6fde; --c1: #d9741a; --c2: #23885a; --c3: #9647c2; }
@media (prefers-color-scheme: dark) { :root { --back: #16181c; --card: #1e2126; --text: #e8e6e2; --soft: #9ba1ad;
  --line: #343841; --good: #5fcf93; --bad: #ff8d84; --warn: #3a3018; --c0: #78a9ff; --c1: #ffab62; --c2: #62cf9c;
  --c3: #cd95f2; } }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 84rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
p, dd { color: var(--soft); margin: 0 0 .75rem; max-width: 46rem; }
.subjects { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 2rem; color: var(--soft); }
.subjects b { color: var(--text); }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0 0 1rem; font-size: .95rem; }
a { color: var(--c0); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
.notes { background: var(--warn); border-radius: .5rem; padding: .75rem 1rem .1rem; }
.notes p { color: var(--text); }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; font-weight: inherit; }
td b { font-weight: 650; }
th { color: var(--soft); font-size: .9rem; }
th[scope] { text-align: left; color: var(--text); font-size: 1rem; }
th i { color: var(--soft); font-size: .8rem; font-style: normal; }
tbody { border-top: 1px solid var(--line); }
tr + tr th[scope=row], tr + tr th[scope=row] ~ td { border-top: 1px solid var(--line); }
small { font-size: .8rem; color: var(--soft); }
.better { color: var(--good); }
.worse { color: var(--bad); }
.dot { display: inline-block; width: .65em; height: .65em; border-radius: 50%; margin-right: .5em; }
.dot.c0 { background: var(--c0); } .dot.c1 { background: var(--c1); }
.dot.c2 { background: var(--c2); } .dot.c3 { background: var(--c3); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 0; }
.chart { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .6rem .2rem; }
.chart figcaption { font-size: .9rem; padding-left: .3rem; }
svg { display: block; width: 100%; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.axis, .zero { fill: none; stroke: var(--line); } .zero { stroke-dasharray: 3 3; }
.curve { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.curve.c0 { stroke: var(--c0); } .curve.c1 { stroke: var(--c1); }
.curve.c2 { stroke: var(--c2); } .curve.c3 { stroke: var(--c3); }
.strip { display: grid; grid-template-columns: 9rem 1fr; gap: .75rem; align-items: center; margin-bottom: 2px; }
.strip:last-child { margin-bottom: .6rem; }
.strip figcaption { text-align: right; overflow-wrap: anywhere; font-size: .95rem; }
.strip img { display: block; width: 100%; max-width: calc(var(--pictures) * 128px); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: .25rem 2rem; }
dt { font-weight: 600; }
dd { margin-left: 0; }
@media (max-width: 40rem) { .strip { grid-template-columns: 1fr; gap: 0; } .strip figcaption { text-align: left; } }
@media print { .wide, .chart { break-inside: avoid; } }
"""
