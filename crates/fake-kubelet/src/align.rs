//! Columns for people: the one place that lines up tables. Text in, text out.

/// Lines whose cells begin in common columns, each as wide as its widest cell, two spaces between them and none at a
/// line's end. Rows may be of different lengths.
pub fn align<S: AsRef<str>>(rows: &[Vec<S>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell_width = |cell: &S| cell.as_ref().chars().count();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(cell_width).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<S>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{:width$}", cell.as_ref())).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_begin_in_common_columns_and_lines_end_without_spaces() {
        let rows = [vec!["a", "b", "c"], vec!["längst", "", ""], vec!["x"]];
        assert_eq!(align(&rows), ["a       b  c", "längst", "x"]);
        assert_eq!(align::<String>(&[]), [""; 0]);
    }
}
