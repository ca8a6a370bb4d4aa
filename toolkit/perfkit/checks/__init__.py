"""What can be said about a machine, a build or a project without timing anything: doctor, build
audit, init.
"""
