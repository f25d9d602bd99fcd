//! Tables and queries of PostgreSQL and SQLite, written to a CSV file that is parsed like any other. Which databases may be
//! asked is the operator's to say; a client brings a query, a name and a password, never a driver.

use ochre_core::{Error, Result};
use std::io::Write;
use std::path::Path;

/// A database that the operator lets clients ask: `NAME=URL`.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    pub name: String,
    pub url: String,
}

impl std::str::FromStr for Connection {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Connection, String> {
        let (name, url) = text.split_once('=').ok_or_else(|| format!("'{text}' is not of the form NAME=URL"))?;
        let url = plain(url);
        if kind(url).is_none() {
            return Err(format!("'{url}' is neither postgresql://HOST[:PORT]/DATABASE nor sqlite:PATH"));
        }
        Ok(Connection { name: name.to_string(), url: url.to_string() })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Postgres,
    Sqlite,
}

fn plain(url: &str) -> &str {
    url.strip_prefix("jdbc:").unwrap_or(url)
}

fn kind(url: &str) -> Option<Kind> {
    match url {
        u if u.starts_with("postgresql://") || u.starts_with("postgres://") => Some(Kind::Postgres),
        u if u.starts_with("sqlite:") => Some(Kind::Sqlite),
        _ => None,
    }
}

/// What is asked of a database.
pub struct Query {
    /// A connection's name, or the URL that the operator gave it.
    pub connection: String,
    pub user: String,
    pub password: String,
    pub what: What,
}

pub enum What {
    Table { name: String, columns: Vec<String> },
    Select(String),
}

/// A name between double quotes, each part of `schema.table` by itself.
fn quoted(name: &str) -> String {
    name.split('.').map(|part| format!("\"{}\"", part.trim_matches('"').replace('"', "\"\""))).collect::<Vec<_>>().join(".")
}

impl Query {
    fn statement(&self) -> Result<String> {
        match &self.what {
            What::Table { name, columns } if columns.is_empty() => Ok(format!("select * from {}", quoted(name))),
            What::Table { name, columns } => {
                // A point within a column's name is part of it.
                let columns: Vec<String> = columns.iter().map(|c| format!("\"{}\"", c.trim_matches('"').replace('"', "\"\""))).collect();
                Ok(format!("select {} from {}", columns.join(", "), quoted(name)))
            }
            What::Select(text) => {
                let text = text.trim().trim_end_matches(';');
                let first = text.split_whitespace().next().unwrap_or_default();
                if !first.eq_ignore_ascii_case("select") && !first.eq_ignore_ascii_case("with") {
                    return Err(Error::invalid(format!("select_query begins with '{first}'; it has to be a SELECT (or WITH ... SELECT)")));
                }
                Ok(text.to_string())
            }
        }
    }

    /// The URL of the operator's connection that is meant.
    fn url<'a>(&self, known: &'a [Connection]) -> Result<&'a str> {
        let asked = plain(&self.connection);
        let same = |c: &&Connection| c.name == asked || c.url == asked || asked.split('?').next() == Some(c.url.as_str());
        known.iter().find(same).map(|c| c.url.as_str()).ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|c| c.name.as_str()).collect();
            Error::invalid(if names.is_empty() {
                "connection_url: this server has no SQL connections; its operator can name some with --sql NAME=URL".to_string()
            } else {
                format!("connection_url: '{asked}' is none of the connections that the operator named: {}", names.join(", "))
            })
        })
    }

    /// Writes the answer to `to` as CSV with a header.
    pub fn run(&self, known: &[Connection], to: &Path) -> Result<()> {
        let (url, statement) = (self.url(known)?, self.statement()?);
        let file = std::fs::File::create(to).map_err(|e| Error::io(to.display(), e))?;
        let mut out = std::io::BufWriter::with_capacity(1 << 20, file);
        match kind(url).expect("checked when the connection was named") {
            Kind::Postgres => self.postgres(url, &statement, &mut out)?,
            Kind::Sqlite => sqlite(url.trim_start_matches("sqlite:"), &statement, &mut out)?,
        }
        out.flush().map_err(|e| Error::io(to.display(), e))
    }

    fn postgres(&self, url: &str, statement: &str, out: &mut impl Write) -> Result<()> {
        let fail = |e: postgres::Error| {
            let told = match (e.as_db_error(), std::error::Error::source(&e)) {
                (Some(d), _) => d.message().to_string(),
                (None, Some(cause)) => format!("{e}: {cause}"),
                (None, None) => e.to_string(),
            };
            Error::invalid(format!("the database of '{}' cannot be read: {told}", self.connection))
        };
        let mut config: postgres::Config = url.parse().map_err(fail)?;
        config.connect_timeout(std::time::Duration::from_secs(10)).application_name("ochre");
        if !self.user.is_empty() {
            config.user(&self.user);
        }
        if !self.password.is_empty() {
            config.password(&self.password);
        }
        let mut client = config.connect(postgres::NoTls).map_err(fail)?;
        // Whatever the query calls, nothing is written.
        let mut reading = client.build_transaction().read_only(true).start().map_err(fail)?;
        // Points in time are told in UTC and to the millisecond, which is what a frame holds.
        let asked = reading.prepare(statement).map_err(fail)?;
        let column = |c: &postgres::Column| {
            let name = format!("\"{}\"", c.name().replace('"', "\"\""));
            let zone = match c.type_().name() {
                "timestamp" => "",
                "timestamptz" => " at time zone 'UTC'",
                _ => return name,
            };
            format!("to_char({name}{zone}, 'YYYY-MM-DD HH24:MI:SS.MS') as {name}")
        };
        let columns: Vec<String> = asked.columns().iter().map(column).collect();
        let told = format!("copy (select {} from ({statement}) asked) to stdout (format csv, header)", columns.join(", "));
        let mut rows = reading.copy_out(&told).map_err(fail)?;
        std::io::copy(&mut rows, out).map_err(|e| Error::invalid(format!("the database of '{}' broke off: {e}", self.connection)))?;
        Ok(())
    }
}

fn sqlite(path: &str, statement: &str, out: &mut impl Write) -> Result<()> {
    use rusqlite::types::ValueRef;
    let path = path.trim_start_matches("//");
    let fail = |e: rusqlite::Error| Error::invalid(format!("the SQLite database {path}: {e}"));
    let db = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(fail)?;
    let mut statement = db.prepare(statement).map_err(fail)?;
    let names: Vec<String> = statement.column_names().map(str::to_string).collect();
    let text = |t: &[u8]| {
        let mut field = vec![b'"'];
        t.iter().for_each(|b| field.extend(if *b == b'"' { &b"\"\""[..] } else { std::slice::from_ref(b) }));
        field.push(b'"');
        field
    };
    let mut line = names.iter().map(|n| text(n.as_bytes())).collect::<Vec<_>>().join(&b","[..]);
    let mut rows = statement.query([]).map_err(fail)?;
    loop {
        line.push(b'\n');
        out.write_all(&line).map_err(|e| Error::invalid(format!("rows of {path} cannot be kept: {e}")))?;
        let Some(row) = rows.next().map_err(fail)? else { return Ok(()) };
        line.clear();
        for i in 0..names.len() {
            if i > 0 {
                line.push(b',');
            }
            match row.get_ref(i).map_err(fail)? {
                ValueRef::Null => {}
                ValueRef::Integer(v) => line.extend(v.to_string().bytes()),
                ValueRef::Real(v) => line.extend(v.to_string().bytes()),
                ValueRef::Text(t) => line.extend(text(t)),
                ValueRef::Blob(_) => {
                    return Err(Error::invalid(format!("column '{}' of {path} holds binary values; leave it out", names[i])));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_named_is_asked_and_nothing_else() {
        let dir = std::env::temp_dir();
        let path = dir.join(format!("ochre-sql-{}.db", std::process::id()));
        let to = dir.join(format!("ochre-sql-{}.csv", std::process::id()));
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("create table t (n integer, x real, s text); insert into t values (1, 0.5, 'a \"b\", c'), (null, 2, null);")
            .unwrap();
        let known = [format!("own=jdbc:sqlite:{}", path.display()).parse::<Connection>().unwrap()];
        let ask = |connection: &str, what: What| {
            let q = Query { connection: connection.into(), user: String::new(), password: String::new(), what };
            q.run(&known, &to).map(|()| std::fs::read_to_string(&to).unwrap())
        };
        let table = |columns: &[&str]| What::Table { name: "t".into(), columns: columns.iter().map(|c| c.to_string()).collect() };
        assert_eq!(ask("own", table(&[])).unwrap(), "\"n\",\"x\",\"s\"\n1,0.5,\"a \"\"b\"\", c\"\n,2,\n");
        let by_url = format!("jdbc:sqlite:{}", path.display());
        assert_eq!(ask(&by_url, table(&["s", "n"])).unwrap(), "\"s\",\"n\"\n\"a \"\"b\"\", c\",1\n,\n");
        assert_eq!(ask("own", What::Select("select n from t where n is not null;".into())).unwrap(), "\"n\"\n1\n");
        let refused = |connection: &str, what: What| ask(connection, what).err().unwrap().to_string();
        assert!(refused("own", What::Select("drop table t".into())).contains("has to be a SELECT"));
        assert!(refused("own", What::Select("with x as (select 1) delete from t".into())).contains("readonly"));
        assert!(refused("jdbc:sqlite:/etc/other.db", table(&[])).contains("none of the connections"));
        assert!(refused("own", What::Table { name: "u".into(), columns: vec![] }).contains("no such table"));
        assert!("x=mysql://h/d".parse::<Connection>().is_err());
        drop(db);
        [path, to].iter().for_each(|p| std::fs::remove_file(p).unwrap());
    }
}
