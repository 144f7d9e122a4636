"""Pages out of templates: everything in them, nothing fetched, no script."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def page(template: str, **values: object) -> str:
    """The HTML page of a template of this package; a value that it lacks is refused."""
    environment = Environment(
        loader=PackageLoader("forecast", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
