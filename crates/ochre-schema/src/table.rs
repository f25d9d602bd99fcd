//! The two-dimensional tables of summaries, histories and metrics, as the clients print them.

use crate::{Value, number_json};

/// One cell.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Cell {
    Text(String),
    Long(i64),
    Double(f64),
    Missing,
}

impl From<&str> for Cell {
    fn from(v: &str) -> Self {
        Cell::Text(v.into())
    }
}
impl From<String> for Cell {
    fn from(v: String) -> Self {
        Cell::Text(v)
    }
}
impl From<f64> for Cell {
    fn from(v: f64) -> Self {
        Cell::Double(v)
    }
}
impl From<i64> for Cell {
    fn from(v: i64) -> Self {
        Cell::Long(v)
    }
}
impl From<usize> for Cell {
    fn from(v: usize) -> Self {
        Cell::Long(v as i64)
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(v: Option<T>) -> Self {
        v.map_or(Cell::Missing, Into::into)
    }
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Column {
    pub name: String,
    pub type_name: std::borrow::Cow<'static, str>,
    pub format: String,
    pub description: String,
    pub cells: Vec<Cell>,
}

/// A named table, stored by column as it is sent.
#[derive(Clone, Debug, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Table {
    pub name: String,
    pub description: String,
    pub columns: Vec<Column>,
    pub version: i32,
}

/// The name of a column with this heading: in lower case, words joined by underscores, without other signs.
pub fn wire_name(heading: &str) -> String {
    let words = heading.split(|c: char| c.is_whitespace() || c == '_').filter(|w| !w.is_empty()).collect::<Vec<_>>();
    words.join("_").to_lowercase().chars().filter(|c| c.is_alphanumeric() || *c == '_').collect()
}

impl Table {
    pub fn new(name: &str, description: &str) -> Self {
        Table { name: name.into(), description: description.into(), columns: vec![], version: 3 }
    }

    /// Adds a column; its wire name follows from the heading.
    pub fn column(self, heading: &str, type_name: &'static str, format: &str, cells: Vec<Cell>) -> Self {
        self.named(&wire_name(heading), heading, type_name, format, cells)
    }

    /// Adds a column whose wire name is not derived from its heading.
    pub fn named(mut self, name: &str, heading: &str, type_name: &'static str, format: &str, cells: Vec<Cell>) -> Self {
        self.columns.push(Column {
            name: name.into(),
            type_name: type_name.into(),
            format: format.into(),
            description: heading.into(),
            cells,
        });
        self
    }

    /// The unnamed column of row labels that most tables begin with.
    pub fn row_labels(self, cells: Vec<Cell>) -> Self {
        self.named("", "", "string", "%s", cells)
    }

    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |c| c.cells.len())
    }

    pub fn get(&self, column: &str, row: usize) -> Option<&Cell> {
        self.columns.iter().find(|c| c.name == column)?.cells.get(row)
    }

    pub fn json(&self) -> Value {
        let columns: Vec<Value> = self
            .columns
            .iter()
            .map(|c| {
                serde_json::json!({
                    "__meta": {"schema_version": -1, "schema_name": "ColumnSpecsBase", "schema_type": "Iced"},
                    "name": c.name, "type": c.type_name, "format": c.format, "description": c.description,
                })
            })
            .collect();
        let data: Vec<Value> = self
            .columns
            .iter()
            .map(|c| {
                Value::Array(
                    c.cells
                        .iter()
                        .map(|cell| match cell {
                            Cell::Text(t) => Value::String(t.clone()),
                            Cell::Long(v) => Value::from(*v),
                            Cell::Double(v) => number_json(*v),
                            Cell::Missing if c.type_name == "string" => Value::String(String::new()),
                            Cell::Missing => Value::String("NaN".into()),
                        })
                        .collect(),
                )
            })
            .collect();
        serde_json::json!({
            "__meta": {"schema_version": 3, "schema_name": "TwoDimTableV3", "schema_type": "TwoDimTable"},
            "name": self.name, "description": self.description, "columns": columns, "rowcount": self.rows(), "data": data,
        })
    }

    /// The table as aligned text, for terminals.
    pub fn text(&self) -> String {
        let show = |c: &Cell| match c {
            Cell::Text(t) => t.clone(),
            Cell::Long(v) => v.to_string(),
            Cell::Double(v) => format!("{v:.6}"),
            Cell::Missing => String::new(),
        };
        let mut lines = vec![String::new(); self.rows() + 1];
        for c in &self.columns {
            let cells: Vec<String> = std::iter::once(c.description.clone()).chain(c.cells.iter().map(show)).collect();
            let width = cells.iter().map(|t| t.chars().count()).max().unwrap_or(0);
            for (line, cell) in lines.iter_mut().zip(cells) {
                line.push_str(&format!("{cell:>width$}  "));
            }
        }
        format!("{}\n{}\n", self.name, lines.join("\n"))
    }
}
