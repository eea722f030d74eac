//! How pages look: by day, by night and on paper.
//!
//! The colours of series are those of Okabe and Ito ("Color universal design", 2008), which people with any kind of
//! colour vision can tell apart; by night they are lighter.

/// How many colours series have: the classes `c0` and on.
pub(super) const COLOURS: usize = 8;

/// The class of a series' colour.
pub(super) fn colour(series: usize) -> String {
    format!("c{}", series % COLOURS)
}

/// The style of every page.
pub(super) const STYLE: &str = "
:root{color-scheme:light dark;--page:#fff;--text:#1a1e23;--soft:#59626d;--rule:#d8dde3;--tile:#f4f6f8;--good:#00664b;
--bad:#ad3400;--heat:0,114,178;--s0:#0072b2;--s1:#d55e00;--s2:#009e73;--s3:#b8608f;--s4:#e69f00;--s5:#56b4e9;
--s6:#6b7177;--s7:#8a7d00}
@media screen and (prefers-color-scheme:dark){:root{--page:#14171a;--text:#e6e9ec;--soft:#a0aab4;--rule:#363d44;
--tile:#1d2226;--good:#4fc79d;--bad:#ff9a5c;--heat:86,180,233;--s0:#4aa8e0;--s1:#f08a4b;--s2:#3cc79b;--s3:#dd9bc0;
--s4:#f0b83c;--s5:#9ad4f5;--s6:#a9b1b8;--s7:#d6c84a}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.55 system-ui,-apple-system,sans-serif}
main{max-width:1100px;margin:0 auto;padding:2.2rem 1.2rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem;letter-spacing:-.01em}
h2{font-size:1.3rem;line-height:1.3;margin:3rem 0 .8rem;padding-top:.7rem;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:1.6rem 0 .5rem}
p{margin:.5rem 0;max-width:75ch}
.lead{color:var(--soft);font-size:1.05rem}
.outcome{font-size:1.1rem;border-left:4px solid;padding:.1rem 0 .1rem .9rem;margin:1.1rem 0}
.outcome.passed{border-color:var(--good)}
.outcome.failed{border-color:var(--bad)}
.passed strong,.good{color:var(--good)}
.failed strong,.bad{color:var(--bad)}
td.good,td.bad{font-weight:600}
.absent{color:var(--soft);font-style:italic}
pre{font:13px/1.5 ui-monospace,monospace;background:var(--tile);border:1px solid var(--rule);border-radius:6px;
padding:.7rem .9rem;margin:.6rem 0;overflow-x:auto}
.copy code{user-select:all;-webkit-user-select:all}
details{margin:1rem 0}
summary{cursor:pointer}
dl,dd{margin:0}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:.5rem 1.4rem;margin:1rem 0;
font-size:.9rem}
.facts dt,.tiles dt{color:var(--soft);font-size:.8rem}
.facts dd{overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(165px,1fr));gap:.7rem;margin:1rem 0}
.tiles div{background:var(--tile);border-radius:8px;padding:.7rem .9rem}
.tiles dd{font-size:1.45rem;line-height:1.3;font-weight:600;font-variant-numeric:tabular-nums}
.tiles dd.note{font-size:.8rem;font-weight:400;color:var(--soft);line-height:1.4}
.scroll{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-size:.875rem;min-width:50%}
th,td{text-align:left;padding:.32rem .8rem .32rem 0;border-bottom:1px solid var(--rule);vertical-align:top}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.matrix{min-width:0}
.matrix th,.matrix td{text-align:center;padding:.4rem .7rem;font-variant-numeric:tabular-nums;white-space:nowrap}
.matrix tbody th{text-align:right}
.matrix small{display:block;color:var(--soft)}
.matrix td{-webkit-print-color-adjust:exact;print-color-adjust:exact}
.h0{background:rgba(var(--heat),.03)}.h1{background:rgba(var(--heat),.08)}.h2{background:rgba(var(--heat),.13)}
.h3{background:rgba(var(--heat),.18)}.h4{background:rgba(var(--heat),.23)}.h5{background:rgba(var(--heat),.28)}
.h6{background:rgba(var(--heat),.33)}.h7{background:rgba(var(--heat),.38)}.h8{background:rgba(var(--heat),.43)}
.h9{background:rgba(var(--heat),.48)}
figure{margin:1.2rem 0;min-width:0}
figcaption{color:var(--soft);font-size:.875rem;max-width:95ch;margin-top:.3rem}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(430px,100%),1fr));gap:0 2rem;align-items:start}
.pair figure{margin:.6rem 0}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.15rem 1.2rem;padding:0;margin:.2rem 0 .4rem;font-size:.85rem}
.legend .key{width:22px;height:12px;margin-right:.4rem;vertical-align:-1px;display:inline-block}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{fill:var(--text);font:12px system-ui,-apple-system,sans-serif}
svg .tick,svg .soft{fill:var(--soft);font-variant-numeric:tabular-nums}
svg .name{fill:var(--soft);font-weight:600}
.grid{stroke:var(--rule);stroke-width:1}
.base{stroke:var(--soft);stroke-width:1}
.c0{--c:var(--s0)}.c1{--c:var(--s1)}.c2{--c:var(--s2)}.c3{--c:var(--s3)}
.c4{--c:var(--s4)}.c5{--c:var(--s5)}.c6{--c:var(--s6)}.c7{--c:var(--s7)}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line.dashed{stroke-dasharray:6 5}
.line.fine{stroke-width:1.2}
.line.thick{stroke-width:3}
.fill{fill:var(--c)}
.pale{fill:var(--c);fill-opacity:.22}
.stack{fill:var(--c);stroke:var(--page);stroke-width:.6}
.shade{fill:var(--s4);fill-opacity:.2}
.mark{stroke:var(--text);stroke-width:1.2;stroke-dasharray:3 3}
.never{fill:none;stroke:var(--bad);stroke-width:1.5;stroke-dasharray:5 4}
svg text.never{fill:var(--bad);stroke:none;font-weight:600}
.link{fill:none;stroke:var(--soft)}
.link.c0,.link.c1,.link.c2,.link.c3,.link.c4,.link.c5,.link.c6,.link.c7{stroke:var(--c)}
.arc{fill:none;stroke:var(--c);stroke-width:4;stroke-linecap:butt}
.node{fill:var(--c);stroke:var(--page);stroke-width:.8}
.node.hollow{fill:var(--page);stroke:var(--c);stroke-width:1.6}
.node.hostile{fill:var(--bad);stroke:var(--text);stroke-width:1}
.node.hostile.hollow{fill:var(--page);stroke:var(--bad);stroke-width:1.8}
@media (hover:hover){.bar:hover,.node:hover,.stack:hover{opacity:.75}}
@media print{:root{color-scheme:light}body{font-size:10.5pt}main{max-width:none;padding:0}
figure,.tiles div,tr{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}}
";
