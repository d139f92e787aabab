"""Why a model answers what it answers: contributions to one answer, and what matters over all of them."""
