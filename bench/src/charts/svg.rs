//! A chart as SVG 1.1, by hand: horizontal bars on a card of its own, which follows the viewer's light or dark scheme and
//! can be read on any page under either.

use std::fmt::Write as _;

use super::{Bar, Chart, Kind, axis};

/// The whole file.
pub(crate) fn draw(chart: &Chart) -> String {
    let height = TOP + ROW * chart.bars.len() as f64 + BOTTOM;
    let end = axis(chart);
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-labelledby=\"t d\">\n<title id=\"t\">{}</title>\n<desc id=\"d\">{}</desc>\n{STYLE}\
         <rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n",
        escaped(&chart.title),
        escaped(&description(chart)),
        WIDTH - 1.0,
        height - 1.0,
    );
    text(&mut svg, MARGIN, 28.0, "title", &chart.title);
    text(&mut svg, MARGIN, 47.0, "muted", &chart.subtitle);
    let goal_at = chart
        .goal
        .as_ref()
        .map(|goal| LEFT + goal.value / end * BARS);
    for (number, bar) in chart.bars.iter().enumerate() {
        row(&mut svg, TOP + ROW * number as f64, bar, end, goal_at);
    }
    goal(&mut svg, chart, goal_at);
    legend(&mut svg, chart, height - 36.0);
    text(&mut svg, MARGIN, height - 13.0, "small", &chart.footer);
    svg.push_str("</svg>\n");
    svg
}

/// For those who do not see it.
fn description(chart: &Chart) -> String {
    let bars = chart
        .bars
        .iter()
        .map(|bar| format!("{}: {}", bar.target, bar.words));
    let goal = chart.goal.iter().map(|goal| goal.words.clone());
    let all: Vec<String> = [chart.subtitle.clone()]
        .into_iter()
        .chain(bars)
        .chain(goal)
        .collect();
    all.join("; ")
}

fn row(svg: &mut String, y: f64, bar: &Bar, end: f64, goal_at: Option<f64>) {
    let middle = y + ROW / 2.0;
    let class = class(bar.kind);
    let name = if bar.kind == Kind::Mailsluice {
        "name own"
    } else {
        "name"
    };
    text(svg, LEFT - 10.0, middle + 4.5, name, &bar.target);
    let is_broken = bar.median > end;
    let width = (bar.median.min(end) / end * BARS).max(1.0);
    let top = y + (ROW - BAR) / 2.0;
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>"
    );
    let mut right = LEFT + width;
    if is_broken {
        // Two slanted cuts in the colour of the card: this bar goes on.
        for cut in [right - 26.0, right - 18.0] {
            let _ = writeln!(
                svg,
                "<path class=\"cut\" d=\"M{cut:.1} {:.1} l8 {:.1}\"/>",
                top + BAR + 2.0,
                -BAR - 4.0
            );
        }
    } else if bar.max > bar.min {
        right = right.max(whisker(svg, middle, bar, end));
    }
    // Words of a bar that ends before the goal stand behind its line, not across it.
    if let Some(goal) = goal_at.filter(|goal| right < *goal + 2.0) {
        right = goal;
    }
    text(svg, right + 8.0, middle + 4.5, "value", &bar.words);
}

/// From the smallest to the largest round; returns where it ends.
fn whisker(svg: &mut String, y: f64, bar: &Bar, end: f64) -> f64 {
    let [from, to] = [bar.min, bar.max].map(|value| LEFT + value.clamp(0.0, end) / end * BARS);
    let _ = writeln!(
        svg,
        "<path class=\"whisker\" d=\"M{from:.1} {y} H{to:.1} M{from:.1} {:.1} v6 M{to:.1} {:.1} v6\"/>",
        y - 3.0,
        y - 3.0
    );
    to
}

fn goal(svg: &mut String, chart: &Chart, x: Option<f64>) {
    let (Some(goal), Some(x)) = (&chart.goal, x) else {
        return;
    };
    let bottom = TOP + ROW * chart.bars.len() as f64;
    let _ = writeln!(
        svg,
        "<path class=\"goal\" d=\"M{x:.1} {} V{bottom}\"/>",
        TOP - 4.0
    );
    text(svg, x + 5.0, TOP - 4.0, "aim", &goal.words);
}

fn legend(svg: &mut String, chart: &Chart, y: f64) {
    let mut kinds: Vec<Kind> = chart.bars.iter().map(|bar| bar.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut x = MARGIN;
    for kind in kinds {
        let words = match kind {
            Kind::Mailsluice => "mailsluice",
            Kind::Understands => "logs in upstream itself",
            Kind::Blind => "passes the client's login on",
            Kind::Baseline => "splice: looks at nothing",
        };
        let _ = writeln!(
            svg,
            "<rect class=\"{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"11\" height=\"11\" rx=\"2\"/>",
            class(kind),
            y - 9.5
        );
        text(svg, x + 17.0, y, "small", words);
        x += 17.0 + words.chars().count() as f64 * 6.2 + 20.0;
    }
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Mailsluice => "bar ours",
        Kind::Understands => "bar knows",
        Kind::Blind => "bar blind",
        Kind::Baseline => "bar base",
    }
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, words: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
        escaped(words)
    );
}

/// Character data and attribute values (XML 1.0, sections 2.2 and 2.4).
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\t' | '\n' | '\r' => safe.push(' '),
            char if char.is_control() => safe.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            char => safe.push(char),
        }
    }
    safe
}

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 20.0;
/// Where bars begin.
const LEFT: f64 = 172.0;
/// The longest bar.
const BARS: f64 = 370.0;
/// Where the first row begins: behind title, subtitle and the goal's words.
const TOP: f64 = 80.0;
const ROW: f64 = 27.0;
const BAR: f64 = 17.0;
/// Legend and footer.
const BOTTOM: f64 = 62.0;

/// The card has a ground of its own, so that the text is read even where page and viewer disagree about the scheme.
const STYLE: &str = "<style>
text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.name { text-anchor: end }
.own { font-weight: 700 }
.muted, .small { fill: #59636e }
.small { font-size: 11.5px }
.aim { font-size: 12px; fill: #1a7f37 }
.card { fill: #ffffff; stroke: #d1d9e0 }
.ours { fill: #0969da }
.knows { fill: #c87619 }
.blind { fill: #8c959f }
.base { fill: #ffffff; stroke: #59636e; stroke-dasharray: 3 2 }
.cut { stroke: #ffffff; stroke-width: 3 }
.whisker { fill: none; stroke: #1f2328; stroke-width: 1.2; opacity: .65 }
.goal { stroke: #1a7f37; stroke-width: 1.5; stroke-dasharray: 5 3 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.muted, .small { fill: #9198a1 }
.aim { fill: #3fb950 }
.card { fill: #0d1117; stroke: #3d444d }
.ours { fill: #4493f8 }
.knows { fill: #d29922 }
.blind { fill: #656c76 }
.base { fill: #0d1117; stroke: #9198a1 }
.cut { stroke: #0d1117 }
.whisker { stroke: #f0f6fc }
.goal { stroke: #3fb950 }
}
</style>
";
