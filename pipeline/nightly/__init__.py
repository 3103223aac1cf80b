"""The nightly transcription's bookkeeping: which rows are owed, who may write them, when they are published.

Layout below the output:
    lease/<epoch>.json, .beat       who may publish; see `lease`
    archives/<id>.parquet           what is in an archive, so that each is looked through once
    runs/<run>/spec.json            what the run is; whoever is first writes it, everybody else must agree
    runs/<run>/listing.json, …      the objects that it owes a row, frozen and cut into shards
    table/run=<run>/s<k>-<attempt>.parquet   a shard's rows, under a name that no two attempts share
    runs/<run>/done/<k>.json        commits a shard: which of its files counts
    table/_delta_log/…              publishes the run, all of its shards at once
"""
