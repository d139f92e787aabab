"""Journeys: tables of events become one example per decision."""
