//! The printed table: one row a measure, ours beside the peers', with ratio and target.

use std::fmt::Write as _;

use serde::Serialize;

/// One measure of one subject.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// As printed, with unit.
    pub text: String,
    /// The number that ratio and target speak of, in the measure's unit.
    pub number: f64,
}

/// One row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured, under which conditions, in which unit.
    pub what: String,
    /// Ours; `None` if it could not be measured, and `note` says why.
    pub ours: Option<Figure>,
    /// The peers', in the order of their names.
    pub peers: Vec<Option<Figure>>,
    /// Upper bound that the design sets, in the measure's unit.
    pub target: Option<f64>,
    /// Why there is no figure, or what to know about it.
    pub note: String,
}

impl Row {
    fn verdict(&self) -> &'static str {
        match (&self.ours, self.target) {
            (Some(ours), Some(target)) if ours.number <= target => "met",
            (Some(_), Some(_)) => "MISSED",
            (Some(_), None) => "",
            (None, _) => "not measured",
        }
    }

    fn ratio(&self) -> String {
        let peer = self.peers.iter().flatten().next();
        match (&self.ours, peer) {
            (Some(ours), Some(peer)) if ours.number > 0.0 => format!("{:.1}x", peer.number / ours.number),
            _ => String::new(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let text = |figure: &Option<Figure>| {
            figure.as_ref().map_or_else(|| "not measured".to_owned(), |figure| figure.text.clone())
        };
        let mut cells = vec![self.what.clone(), text(&self.ours)];
        cells.extend(self.peers.iter().map(text));
        cells.push(self.ratio());
        cells.push(self.target.map_or_else(String::new, |target| format!("<= {target}")));
        cells.push(self.verdict().to_owned());
        cells.push(self.note.clone());
        cells
    }
}

/// The whole table as text, columns aligned. `peers` are the names over the peers' columns.
pub fn render(rows: &[Row], peers: &[String]) -> String {
    let mut head = vec!["measure".to_owned(), "gantry".to_owned()];
    head.extend(peers.iter().cloned());
    head.extend(["peer/ours", "target", "", "note"].map(str::to_owned));
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut printed = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(printed, "{cell:<width$}  ");
        }
        text.push_str(printed.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, peer: Option<f64>, target: f64) -> Row {
        let figure = |number: f64| Figure { text: number.to_string(), number };
        Row {
            what: "start".into(),
            ours: Some(figure(ours)),
            peers: vec![peer.map(figure)],
            target: Some(target),
            note: String::new(),
        }
    }

    #[test]
    fn row_over_its_target_says_so() {
        assert!(render(&[row(6.0, None, 5.0)], &["peer".into()]).contains("MISSED"));
        assert!(render(&[row(5.0, None, 5.0)], &["peer".into()]).contains("met"));
    }

    #[test]
    fn row_without_a_peer_says_not_measured_and_has_no_ratio() {
        let text = render(&[row(1.0, None, 5.0)], &["peer".into()]);
        assert!(text.contains("not measured") && !text.contains("1.0x"), "{text}");
    }

    #[test]
    fn row_with_a_peer_shows_how_much_longer_it_takes() {
        assert!(render(&[row(2.0, Some(8.0), 5.0)], &["peer".into()]).contains("4.0x"));
    }
}
