"""`aiqleads report`: reads the artifacts of a run through ML Metadata and writes one HTML page that stands alone."""
