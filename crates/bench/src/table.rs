//! The answer: groups of rows, ours beside the peers', with ratio and target. It knows no measure.

use fake_kubelet::align;
use serde::Serialize;
use serde_json::{Value, json};

/// One number that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// As printed.
    pub text: String,
    /// The number that ratio and target speak of, in the row's unit.
    pub number: f64,
}

/// What a row is about.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// What is measured, in which unit.
    pub what: &'static str,
    /// Upper bound that the design sets, in the row's unit.
    pub target: Option<f64>,
}

/// A program's figures of one group.
#[derive(Clone, Debug)]
pub enum Column {
    /// One for each row; absent where the run's arguments leave it out.
    Measured(Vec<Option<Figure>>),
    /// It failed, which was told.
    Failed,
    /// It was not tried.
    NotMeasured,
}

/// Rows that are measured together.
#[derive(Clone, Debug)]
pub struct Group {
    /// Under which conditions.
    pub title: String,
    /// What.
    pub rows: &'static [Spec],
    /// Ours, then the peers'.
    pub columns: Vec<Column>,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Table {
    /// The programs' names, ours first.
    pub names: Vec<String>,
    /// In the order of the run.
    pub groups: Vec<Group>,
}

const NOT_MEASURED: &str = "not measured";
const FAILED: &str = "failed";

impl Column {
    fn figure(&self, row: usize) -> Option<&Figure> {
        match self {
            Column::Measured(figures) => figures.get(row)?.as_ref(),
            Column::Failed | Column::NotMeasured => None,
        }
    }

    fn text(&self, row: usize) -> &str {
        match (self, self.figure(row)) {
            (_, Some(figure)) => &figure.text,
            (Column::Failed, _) => FAILED,
            _ => NOT_MEASURED,
        }
    }
}

impl Group {
    fn verdict(&self, row: usize) -> &str {
        let ours = self.columns.first();
        match (ours.and_then(|ours| ours.figure(row)), self.rows[row].target) {
            (Some(figure), Some(target)) if figure.number <= target => "met",
            (Some(_), Some(_)) => "MISSED",
            (Some(_), None) => "",
            (None, _) => ours.map_or(NOT_MEASURED, |ours| ours.text(row)),
        }
    }

    fn ratio(&self, row: usize) -> String {
        let mut figures = self.columns.iter().map(|column| column.figure(row));
        match (figures.next().flatten(), figures.flatten().next()) {
            (Some(ours), Some(peer)) if ours.number > 0.0 => format!("{:.1}x", peer.number / ours.number),
            _ => String::new(),
        }
    }

    fn cells(&self, row: usize) -> Vec<String> {
        let spec = &self.rows[row];
        let mut cells = vec![format!("  {}", spec.what)];
        cells.extend(self.columns.iter().map(|column| column.text(row).to_owned()));
        cells.push(self.ratio(row));
        cells.push(spec.target.map_or_else(String::new, |target| format!("<= {target}")));
        cells.push(self.verdict(row).to_owned());
        cells
    }
}

impl Table {
    /// Whether something failed.
    pub fn has_failed(&self) -> bool {
        let mut columns = self.groups.iter().flat_map(|group| &group.columns);
        columns.any(|column| matches!(column, Column::Failed))
    }

    /// For people: aligned columns, a title over each group. Without peers a column says so, since a table that is
    /// silent about them looks complete.
    pub fn text(&self) -> String {
        let mut table = self.clone();
        if table.names.len() == 1 {
            table.names.push("peer".to_owned());
            table.groups.iter_mut().for_each(|group| group.columns.push(Column::NotMeasured));
        }
        let mut head = vec![String::new()];
        head.extend(table.names.iter().cloned());
        head.extend(["peer/ours", "target", ""].map(str::to_owned));
        let mut lines = vec![head];
        for group in &table.groups {
            lines.push(vec![group.title.clone()]);
            lines.extend((0..group.rows.len()).map(|row| group.cells(row)));
        }
        // Titles are no cells: they may be as long as they like.
        let cells: Vec<Vec<String>> = lines
            .iter()
            .map(|line| if line.len() == 1 { vec![String::new()] } else { line.clone() })
            .collect();
        let aligned = align(&cells).into_iter().zip(lines);
        let printed = aligned.map(|(text, line)| match line.as_slice() {
            [title] => format!("\n{title}\n"),
            _ => format!("{text}\n"),
        });
        printed.collect()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let row = |group: &Group, row: usize| {
            let figures: serde_json::Map<String, Value> = self
                .names
                .iter()
                .zip(&group.columns)
                .map(|(name, column)| {
                    let value = match column.figure(row) {
                        Some(figure) => json!(figure),
                        None => json!(column.text(row)),
                    };
                    (name.clone(), value)
                })
                .collect();
            json!({
                "group": group.title,
                "what": group.rows[row].what.trim(),
                "figures": figures,
                "target": group.rows[row].target,
                "verdict": group.verdict(row),
            })
        };
        let rows = self.groups.iter().flat_map(|group| (0..group.rows.len()).map(move |at| row(group, at)));
        json!({ "names": self.names, "rows": rows.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &[Spec] = &[Spec { what: "start (ms)", target: Some(5.0) }];

    fn measured(number: f64) -> Column {
        Column::Measured(vec![Some(Figure { text: number.to_string(), number })])
    }

    fn table(columns: Vec<Column>) -> Table {
        let names = ["gantry", "other"].iter().take(columns.len()).map(|name| (*name).to_owned()).collect();
        let title = "on a title that is longer than any cell of it".to_owned();
        Table { names, groups: vec![Group { title, rows: ROW, columns }] }
    }

    #[test]
    fn row_is_met_up_to_its_target_and_missed_over_it() {
        assert!(table(vec![measured(5.0)]).text().contains("<= 5    met"));
        assert!(table(vec![measured(6.0)]).text().contains("<= 5    MISSED"));
    }

    #[test]
    fn table_without_peers_says_that_none_was_measured() {
        let text = table(vec![measured(1.0)]).text();
        let wanted = "              gantry  peer          peer/ours  target\n\non a title that is longer than any cell of it\n  start (ms)  1       not measured             <= 5    met\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn row_with_a_peer_shows_how_much_longer_it_takes() {
        assert!(table(vec![measured(2.0), measured(8.0)]).text().contains("4.0x"));
    }

    #[test]
    fn program_that_failed_keeps_its_column_and_the_others_theirs() {
        let table = table(vec![measured(2.0), Column::Failed]);
        assert!(table.has_failed() && table.text().contains("2       failed"), "{}", table.text());
        let row = &table.json()["rows"][0];
        assert_eq!(row["figures"]["other"], "failed");
        assert_eq!((&row["figures"]["gantry"]["number"], &row["verdict"]), (&json!(2.0), &json!("met")));
    }
}
