//! `${NAME}` and `${NAME:-default}` inside the strings of a TOML document.

use toml::Value;

/// Replaces every reference in `value`; the error says which one could not be replaced.
pub fn substitute(value: &mut Value, env: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    match value {
        Value::String(text) => *text = expand(text, env)?,
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| substitute(item, env))?,
        Value::Table(table) => table
            .iter_mut()
            .try_for_each(|(_, item)| substitute(item, env))?,
        _ => {}
    }
    Ok(())
}

fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from_name)) = rest.split_once("${") {
        let (reference, after) = from_name
            .split_once('}')
            .ok_or_else(|| format!("'{text}' has a '${{' without '}}'"))?;
        let replacement = match reference.split_once(":-") {
            // As in a shell, an empty variable counts as unset here.
            Some((name, default)) => env(name)
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| default.to_owned()),
            None => env(reference)
                .ok_or_else(|| format!("the environment variable {reference} is not set"))?,
        };
        expanded.push_str(before);
        expanded.push_str(&replacement);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced() {
        assert_eq!(expand("plain", &env).as_deref(), Ok("plain"));
        assert_eq!(
            expand("//${HOST}:${PORT:-5432}/x", &env).as_deref(),
            Ok("//db:5432/x")
        );
        assert_eq!(expand("${EMPTY:-default}", &env).as_deref(), Ok("default"));
        assert_eq!(
            expand("${NONE:-http://localhost:8080}", &env).as_deref(),
            Ok("http://localhost:8080")
        );
    }

    #[test]
    fn unset_and_unfinished_references_are_errors() {
        assert_eq!(
            expand("${NONE}", &env),
            Err("the environment variable NONE is not set".to_owned())
        );
        assert!(expand("${HOST", &env).is_err());
    }
}
