"""The style sheet of pages: light or dark as the reader's system is, wide or narrow as the window is."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f24;--soft:#5b6470;--line:#dde1e7;--bar:#2f6fb3;
--frame:#e9ecf0}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--card:#1d2126;--ink:#e7eaee;--soft:#9aa4b1;--line:#343b44;
--bar:#6aa9e9;--frame:#2a3038}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:1160px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:26px;margin:0 0 16px}
h2{font-size:19px;margin:36px 0 4px}
h2+p{margin:0 0 12px;color:var(--soft)}
h2+.columns,h2+table{margin-top:12px}
h3{font-size:15px;margin:0 0 6px}
small{color:var(--soft);font-weight:400;font-size:13px;margin-left:6px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px}
.tile,.chart,.columns>div:not(.chart){background:var(--card);border:1px solid var(--line);border-radius:8px;
padding:14px 16px}
.tile strong{display:block;font-size:25px;line-height:1.2;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:12px;margin-top:12px}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:12px;align-items:start}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:5px 10px 5px 0;vertical-align:top;border-top:1px solid var(--line)}
thead th,thead td{border-top:0;color:var(--soft);font-weight:400;font-size:13px}
tbody th{font-weight:400}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.counts td,.counts th{vertical-align:middle}
.b{width:22%;padding-right:0}
.share{display:block;height:8px;border-radius:4px;background:var(--frame);overflow:hidden}
.share span{display:block;height:100%;background:var(--bar)}
.pairs{background:var(--card);border:1px solid var(--line);border-radius:8px;border-collapse:separate;border-spacing:0}
.pairs th,.pairs td{padding:6px 16px;overflow-wrap:anywhere}
.pairs tr:first-child>*{border-top:0}
.pairs th{color:var(--soft);width:30%;overflow-wrap:normal}
svg{display:block;width:100%;height:auto}
svg text{font-size:11.5px;fill:var(--ink);font-variant-numeric:tabular-nums}
svg .axis{fill:var(--soft)}
svg .mid{text-anchor:middle}
svg .end{text-anchor:end}
svg .grid{stroke:var(--line)}
svg .bar{fill:var(--bar)}
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(124px,1fr));gap:12px}
.large{grid-template-columns:repeat(auto-fill,minmax(172px,1fr))}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:6px;min-width:0}
.frame{display:flex;align-items:center;justify-content:center;height:112px;background:var(--frame);border-radius:4px;
overflow:hidden}
.large .frame{height:160px}
img{display:block;max-width:100%;max-height:100%;object-fit:contain}
.blank{color:var(--soft);font-size:13px}
figcaption{font-size:12px;line-height:1.35;margin-top:5px;color:var(--soft);overflow-wrap:anywhere}
figcaption span,figcaption .name{display:block}
figcaption .name{color:var(--ink);display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:4;overflow:hidden}
.more{margin:12px 0 0;color:var(--soft)}
@media (max-width:480px){main{padding:16px 12px 32px}.sheet{grid-template-columns:repeat(3,minmax(0,1fr));gap:8px}
.large{grid-template-columns:repeat(2,minmax(0,1fr))}.pairs th{width:38%}.tiles{grid-template-columns:1fr 1fr}}
"""
