//! The rows as a picture: the time as a ratio to the smallest size, over the size, a line an operation.

use std::fmt::Write;

use crate::Row;
use crate::operation::Axis;
use crate::table::{short, thousands};

/// Colours that stay apart for most eyes and on white and black.
const COLOURS: [&str; 12] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7f3c8d", "#e7298a", "#66a61e",
    "#a6761d", "#666666", "#1b9e77",
];
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 50.0;
const LINE: f64 = 18.0;
/// Below each panel there is room for its longest legend.
const LEGEND: f64 = 40.0 + 12.0 * LINE;

/// One panel.
struct Panel<'a> {
    title: &'static str,
    x: &'static str,
    rows: Vec<&'a Row>,
    /// Ratios are drawn by their logarithms.
    logarithmic: bool,
}

/// The picture.
pub fn svg(rows: &[Row]) -> String {
    let panel = |title, x, logarithmic, wanted: &dyn Fn(&Row) -> bool| Panel {
        title,
        x,
        rows: rows.iter().filter(|row| wanted(row)).collect(),
        logarithmic,
    };
    let panels = [
        panel("Over the users of the tenant", "users", false, &|row| row.is(Axis::Users, false)),
        panel("Over the members of the group", "members", false, &|row| row.is(Axis::Members, false)),
        panel("What reads what there is (logarithmic)", "users, or members", true, &|row| {
            row.operation.grows()
        }),
    ];
    let width = 3.0 * (LEFT + WIDTH + 20.0);
    let height = TOP + HEIGHT + LEGEND;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Time of an operation as a ratio to the smallest size</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        let left = LEFT + (LEFT + WIDTH + 20.0) * f64::from(u8::try_from(at).unwrap_or(0));
        panel.draw(&mut svg, left);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The ratios but for those of what was not done.
fn finite(row: &Row) -> Vec<(usize, f64)> {
    row.ratios().into_iter().filter(|(_, ratio)| ratio.is_finite()).collect()
}

/// Where sizes and ratios lie in a panel.
struct Scales {
    left: f64,
    /// The logarithms of the smallest and of the largest size.
    sizes: (f64, f64),
    /// The lowest and the highest height: ratios, or their logarithms.
    heights: (f64, f64),
    logarithmic: bool,
}

impl Scales {
    /// The scales of a panel that holds all values of the rows. `None` if there are none.
    fn of(panel: &Panel<'_>, left: f64) -> Option<Self> {
        let found = || panel.rows.iter().flat_map(|row| row.found.iter().map(|found| found.size));
        let sizes = ((found().min()? as f64).log10(), (found().max()? as f64).log10());
        let ratios = panel.rows.iter().flat_map(|row| finite(row)).map(|(_, ratio)| ratio);
        let highest = ratios.fold(1.0, f64::max);
        // From nothing to a bit more than the highest, or in powers of ten.
        let heights = if panel.logarithmic {
            (-1.0, highest.log10().ceil().max(1.0))
        } else {
            (0.0, (highest * 2.0).ceil().max(6.0) / 2.0)
        };
        Some(Self { left, sizes, heights, logarithmic: panel.logarithmic })
    }

    /// The place of a size, by its logarithm.
    fn x(&self, logarithm: f64) -> f64 {
        let (from, to) = self.sizes;
        self.left + (logarithm - from) / (to - from) * WIDTH
    }

    fn y(&self, ratio: f64) -> f64 {
        let (low, top) = self.heights;
        let height = if self.logarithmic { ratio.log10() } else { ratio };
        TOP + HEIGHT - (height - low) / (top - low) * HEIGHT
    }
}

impl Panel<'_> {
    fn draw(&self, svg: &mut String, left: f64) {
        let Some(scales) = Scales::of(self, left) else { return };
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{}</text>",
            TOP - 20.0,
            self.title
        );
        draw_ratios(svg, &scales);
        draw_sizes(svg, &scales);
        let (middle, below) = (left + WIDTH / 2.0, TOP + HEIGHT + 36.0);
        let _ = writeln!(svg, "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{}</text>", self.x);
        for (number, row) in self.rows.iter().enumerate() {
            draw_row(svg, &scales, row, number);
        }
    }
}

/// Draws a horizontal line for each ratio.
fn draw_ratios(svg: &mut String, scales: &Scales) {
    let (left, (low, top)) = (scales.left, scales.heights);
    let mut tick = low;
    while tick <= top {
        let ratio = if scales.logarithmic { 10_f64.powf(tick) } else { tick };
        let (at, right) = (scales.y(ratio), left + WIDTH);
        let _ = writeln!(
            svg,
            "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            at + 4.0,
            if ratio.fract() == 0.0 { thousands(ratio as usize) } else { format!("{ratio:.1}") }
        );
        tick += 1.0;
    }
}

/// Draws a vertical line for each power of ten.
fn draw_sizes(svg: &mut String, scales: &Scales) {
    let (from, to) = scales.sizes;
    let mut decade = from.ceil();
    while decade <= to {
        let at = scales.x(decade);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{0}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{1}\" text-anchor=\"middle\">{2}</text>",
            TOP + HEIGHT,
            TOP + HEIGHT + 18.0,
            thousands(10_f64.powf(decade) as usize)
        );
        decade += 1.0;
    }
}

/// Draws the line of an operation, and its row in the legend.
fn draw_row(svg: &mut String, scales: &Scales, row: &Row, number: usize) {
    let (left, colour) = (scales.left, COLOURS[number % COLOURS.len()]);
    let ratios = finite(row);
    let point = |(size, ratio): &(usize, f64)| {
        format!("{:.1},{:.1}", scales.x((*size as f64).log10()), scales.y(*ratio))
    };
    let points: Vec<String> = ratios.iter().map(point).collect();
    let at = TOP + HEIGHT + 60.0 + LINE * f64::from(u8::try_from(number).unwrap_or(0));
    let last = ratios.last().map_or_else(String::new, |(_, ratio)| short(*ratio));
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
         <line x1=\"{left}\" y1=\"{1:.1}\" x2=\"{2}\" y2=\"{1:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>\
         <text x=\"{3}\" y=\"{at:.1}\">{4} (× {last} at the last)</text>",
        points.join(" "),
        at - 4.0,
        left + 22.0,
        left + 30.0,
        row.operation.name()
    );
}
