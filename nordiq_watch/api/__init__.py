"""The wire, typed once: every route, what it takes and what it answers, for views, client and OpenAPI alike."""
