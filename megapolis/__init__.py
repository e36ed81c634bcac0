"""Megapolis API: async Django behind Supabase sign-in."""
