//! The beginning of a page that needs nothing beside it, and text that is safe in it.

/// Up to and with its heading. Nothing is fetched and no script runs.
#[must_use]
pub fn opened(title: &str, style: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <style>{style}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    )
}

/// Text that is safe in HTML and SVG, in elements and attributes.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
