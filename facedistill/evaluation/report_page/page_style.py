"""What the report page of an evaluation adds to the house's style sheet."""

from __future__ import annotations

REPORT_STYLE = """
:root{--series-1:#0b5fa5;--series-2:#d55e00;--series-3:#00805d;--series-4:#b0478a;--alarm:#fff4e5;--alarm-line:#c25700}
@media screen and (prefers-color-scheme:dark){:root{--series-1:#62aef0;--series-2:#ff9a52;--series-3:#3fcf9f;
--series-4:#f08cc6;--alarm:#3a2a18;--alarm-line:#ff9a52}}
h3{margin-top:20px}
.chart h3{margin-top:0}
.chart p,h3+p{margin:0 0 10px;color:var(--soft);font-size:14px}
header h1+table{margin-bottom:14px}
.pairs th{width:200px}
.warnings{background:var(--alarm);border:1px solid var(--alarm-line);border-left-width:6px;border-radius:8px;
padding:12px 16px}
.warnings h2{margin:0 0 6px}
.warnings ul{margin:0}
ul{margin:6px 0 14px;padding-left:20px}
li{overflow-wrap:anywhere}
h2{overflow-wrap:anywhere}
.fine{color:var(--soft);margin:0}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:6px 16px}
h2+.scroll,.scroll+.scroll,section .charts,section .columns{margin-top:12px}
.scroll+p{color:var(--soft);font-size:14px;margin:8px 0 0}
.columns .scroll{border:0;padding:0;background:none}
.columns{grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr))}
.data th+*{padding-left:10px}
.data tbody th{overflow-wrap:anywhere;min-width:84px}
.data .inner th,.data .inner td{border-top:0;color:var(--soft)}
.data .inner th{padding-left:14px}
.data td:last-child,.data th:last-child{padding-right:0}
nav{margin-top:12px;line-height:1.9}
nav a{margin-right:14px;overflow-wrap:anywhere}
a{color:var(--series-1)}
.drawn *{stroke-linejoin:round;stroke-linecap:butt}
.drawn text{font-size:inherit;fill:inherit}
.duo{grid-template-columns:repeat(auto-fill,minmax(210px,1fr))}
figcaption .name+.name{margin-top:2px}
.two{display:grid;grid-template-columns:1fr 1fr;gap:4px}
.two .frame{height:auto;aspect-ratio:1}
.two img{width:100%;height:100%}
.wrong{color:var(--alarm-line);font-weight:600}
dl{background:var(--card);border:1px solid var(--line);border-radius:8px;margin:12px 0 0;padding:4px 16px 14px}
dt{font-weight:600;margin-top:10px}
dd{margin:0;color:var(--soft)}
@media (max-width:600px){.chart,.scroll,.columns>div:not(.chart){padding:10px}
.duo{grid-template-columns:repeat(2,minmax(0,1fr))}
.pairs th{width:110px}
.pairs th,.pairs td{padding:5px 10px}
.cards,.cards tbody,.cards tr,.cards th,.cards td{display:block}
.cards thead{display:none}
.cards tr{border-top:1px solid var(--line);padding:8px 0}
.cards tr:first-child{border-top:0}
.cards tbody th{border:0;padding:0 0 2px;font-weight:600}
.cards .inner{border-top:0}
.cards .inner th{padding-left:0;font-weight:400}
.cards td{border:0;padding:1px 0!important;text-align:right;display:flex;justify-content:space-between;gap:12px}
.cards td:empty{display:none}
.cards td::before{content:attr(data-label);color:var(--soft)}}
@media print{:root{color-scheme:light;--page:#fff;--card:#fff;--ink:#1b1f24;--soft:#5b6470;--line:#dde1e7;--bar:#2f6fb3;
--frame:#e9ecf0}
.chart,figure,tr,.warnings,.columns>div{break-inside:avoid}
h2,h3{break-after:avoid}
.scroll{overflow:visible}
nav{display:none}
.charts{grid-template-columns:1fr 1fr}
.duo{grid-template-columns:repeat(4,minmax(0,1fr))}
main{max-width:none;padding:0}}
"""
