"""The pages people look at: the status page and the API's reference. Rendered here, no script needed to read them."""
