"""The peers: small programs that do what the service does, each as its own documentation advises.

Each verifies the token, loads the session with its user, runs the query and answers JSON:

    GET  /widgets/{id}
    GET  /widgets/?limit=&cursor=
    POST /widgets/

They share the tables of the service and read `configuration`, and nothing else is shared.
"""
