"""The four ways to run the service, and the experiment that measures them one after the other."""
