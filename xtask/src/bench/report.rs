//! Figures of several rounds as one table, or as JSON.
//!
//! The rounds are interleaved (A B C, A B C, …), so that what the machine does meanwhile touches all contenders. A figure
//! is the median of its rounds, a ratio the median of the ratios within each round.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::contender::Kind;
use super::machine::Machine;
use super::sample::median;

/// One figure of a round; a contender may have none.
pub(crate) struct Column {
    /// In JSON, with its unit.
    pub(crate) key: &'static str,
    /// In the table, with its unit.
    pub(crate) title: &'static str,
    pub(crate) decimals: usize,
    /// Whether a column with the ratio to nginx stands beside it.
    pub(crate) against_nginx: bool,
}

/// One contender's figures.
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) version: String,
    /// By round, then by column.
    pub(crate) rounds: Vec<Vec<Option<f64>>>,
}

/// What the Kube Proxy should reach: a bound from above. It is shown, and decides nothing.
pub(crate) struct Target {
    pub(crate) title: &'static str,
    pub(crate) column: &'static str,
    /// Whether the bound is for the ratio to nginx rather than for the figure.
    pub(crate) is_ratio: bool,
    pub(crate) at_most: f64,
}

/// Everything that a bench has to say.
pub(crate) struct Report {
    pub(crate) bench: &'static str,
    /// The load, in words.
    pub(crate) load: String,
    pub(crate) columns: &'static [Column],
    pub(crate) rows: Vec<Row>,
    pub(crate) targets: &'static [Target],
}

impl Report {
    fn figure(&self, row: &Row, column: usize) -> Option<f64> {
        median(row.rounds.iter().filter_map(|round| *round.get(column)?).collect())
    }

    fn ratio(&self, row: &Row, column: usize) -> Option<f64> {
        let nginx = self.rows.iter().find(|row| row.kind == Kind::Nginx)?;
        let pairs = row.rounds.iter().zip(&nginx.rounds);
        let ratios = pairs.filter_map(|(ours, theirs)| Some((*ours.get(column)?)? / (*theirs.get(column)?)?));
        median(ratios.filter(|ratio| ratio.is_finite()).collect())
    }

    fn reached(&self, target: &Target) -> Option<f64> {
        let keywayd = self.rows.iter().find(|row| row.kind == Kind::Keywayd)?;
        let column = self.columns.iter().position(|column| column.key == target.column)?;
        if target.is_ratio { self.ratio(keywayd, column) } else { self.figure(keywayd, column) }
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut header = vec![String::new()];
        for column in self.columns {
            header.push(column.title.to_owned());
            if column.against_nginx {
                header.push("x nginx".to_owned());
            }
        }
        let mut lines = vec![header];
        for row in &self.rows {
            let mut cells = vec![row.kind.name().to_owned()];
            for (index, column) in self.columns.iter().enumerate() {
                cells.push(shown(self.figure(row, index), column.decimals));
                if column.against_nginx {
                    cells.push(shown(self.ratio(row, index), 2));
                }
            }
            lines.push(cells);
        }
        let mut text = format!("\n{}\n{}\n\n{}\n", self.load, Machine::this(), aligned(&lines));
        for target in self.targets {
            let reached = self.reached(target);
            let bound = target.at_most;
            let verdict = reached.map_or("", |reached| if reached <= bound { " (there)" } else { " (not there)" });
            let _infallible = writeln!(text, "target: {}; keywayd: {}{verdict}", target.title, shown(reached, 2));
        }
        let versions = self.rows.iter().filter(|row| !row.version.is_empty());
        let versions: Vec<String> = versions.map(|row| format!("{} {}", row.kind.name(), row.version)).collect();
        let _infallible = writeln!(text, "{}", versions.join(", "));
        text.push_str("Only the ratios mean anything on another machine, and only within one run.\n");
        text
    }

    /// For machines: the medians, and each round.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row_json(row)).collect();
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|target| json!({ "target": target.title, "at_most": target.at_most, "keywayd": self.reached(target) }))
            .collect();
        json!({
            "bench": self.bench, "load": self.load, "machine": Machine::this().json(), "contenders": rows, "targets": targets,
        })
    }

    fn row_json(&self, row: &Row) -> Value {
        let by_key = |value: &dyn Fn(usize) -> Value| -> Value {
            self.columns
                .iter()
                .enumerate()
                .map(|(index, column)| (column.key.to_owned(), value(index)))
                .collect::<Map<_, _>>()
                .into()
        };
        let rounds: Vec<Value> =
            row.rounds.iter().map(|round| by_key(&|column| json!(round.get(column).copied().flatten()))).collect();
        json!({
            "name": row.kind.name(),
            "version": row.version,
            "median": by_key(&|column| json!(self.figure(row, column))),
            "ratio_to_nginx": by_key(&|column| json!(self.ratio(row, column))),
            "rounds": rounds,
        })
    }
}

fn shown(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

/// The first column to the left, the others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate();
        let padded = cells.map(
            |(index, (cell, width))| if index == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") },
        );
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Column, Kind, Report, Row, Target};

    const COLUMNS: &[Column] = &[Column { key: "cpu_us", title: "µs CPU", decimals: 1, against_nginx: true }];
    const TARGETS: &[Target] = &[Target { title: "CPU <= nginx", column: "cpu_us", is_ratio: true, at_most: 1.0 }];

    fn report() -> Report {
        let row = |kind, rounds: &[Option<f64>]| Row {
            kind,
            version: String::new(),
            rounds: rounds.iter().map(|figure| vec![*figure]).collect(),
        };
        // The third round ran while the machine was busy: it must not change the ratio.
        let rows = vec![
            row(Kind::Keywayd, &[Some(30.0), Some(30.0), Some(90.0)]),
            row(Kind::Nginx, &[Some(20.0), Some(20.0), Some(60.0)]),
            row(Kind::Direct, &[None, None, None]),
        ];
        Report { bench: "proxy", load: "a load".into(), columns: COLUMNS, rows, targets: TARGETS }
    }

    #[test]
    fn figures_are_medians_and_ratios_are_those_within_a_round() {
        let table = report().table();
        assert!(table.contains("            µs CPU  x nginx\nkeywayd       30.0     1.50\nnginx         20.0     1.00\n(no proxy)       -        -\n"), "{table}");
        assert!(table.contains("target: CPU <= nginx; keywayd: 1.50 (not there)"), "{table}");
    }

    #[test]
    fn json_has_every_round() {
        let json = report().json();
        assert_eq!(json["contenders"][0]["rounds"][2]["cpu_us"], 90.0);
        assert_eq!(json["contenders"][0]["ratio_to_nginx"]["cpu_us"], 1.5);
        assert!(json["contenders"][2]["median"]["cpu_us"].is_null());
    }
}
